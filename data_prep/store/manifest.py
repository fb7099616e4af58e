"""Names of the files of a prepared folder, and the manifest that describes them."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.errors import UserError
from data_prep.files import write_text

FORMAT = 2
"""Version of the layout. Others are refused. Since 2, records.csv says which records lost their voltage scale."""

SIGNALS = "signals.npy"
RECORDS = "records.csv"
MANIFEST = "manifest.json"
FAILURES = "failures.csv"
PROGRESS = "progress.jsonl"
LOST_VOLTAGE = "lost_voltage"
"""Column of records.csv: `record` or `lead` for what lost its voltage scale, or empty."""
KEYS = ("ecg_id", "patient_id", "fold")
TEXTS = ("name", "split", "warnings", LOST_VOLTAGE)
"""Columns of text in records.csv. There is one more for each label set."""
READ = "read"
"""Entry of a manifest: the options that records were read with. Older folders lack it."""
KINDS = ("int", "float", "str")
CHECKSUM = "checksum"
"""Entry of a manifest: the SHA-256 of all others. Older folders lack it."""


class StoreError(UserError):
    """A prepared folder that cannot be written or used. The message says which, what was found, and how to fix it."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a prepared folder. Raise StoreError if this version cannot."""
    if not (path / MANIFEST).is_file():
        todo = "`ecgmtl data prepare SRC OUT` makes one"
        if (path / PROGRESS).is_file():
            todo = "its preparation was not finished; run `ecgmtl data prepare` again to continue"
        raise StoreError(f"{path} is not a prepared folder: it has no {MANIFEST}; {todo}.")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version = int(manifest["format"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"{path / MANIFEST}: not readable; prepare the folder again.") from error
    if version != FORMAT:
        age, todo = ("a newer", "update ecgmtl") if version > FORMAT else ("an older", "prepare the records again")
        raise StoreError(f"{path} was written by {age} ecgmtl (store {version}, this one reads {FORMAT}); {todo}.")
    for key, (is_one, kind) in ENTRIES.items():
        if key not in manifest and key != READ:
            raise StoreError(f"{path / MANIFEST}: no entry {key}; prepare the folder again.")
        if key in manifest and not is_one(manifest[key]):
            actual = type(manifest[key]).__name__
            raise StoreError(f"{path / MANIFEST}: {key} should be {kind}; found a {actual}; prepare the folder again.")
    if CHECKSUM in manifest and manifest[CHECKSUM] != checksum_of(manifest):
        raise changed(path / MANIFEST)
    texts = (*TEXTS, *manifest["label_sets"])
    for column in (*KEYS, *texts):
        kind = manifest["columns"].get(column)
        if kind is None or (column in texts and kind != "str"):
            raise StoreError(f"{path / MANIFEST}: columns has no {column} of its kind; prepare the folder again.")
    if manifest["labels"] not in manifest["label_sets"]:
        raise StoreError(f"{path / MANIFEST}: labels is not one of its label_sets; prepare the folder again.")
    return manifest


def changed(path: Path) -> StoreError:
    """Return the error about a file of a prepared folder that differs from its checksum."""
    return StoreError(f"{path}: it has changed since it was written: its checksum differs; prepare the folder again.")


def is_signals(value: object) -> bool:
    shape = value.get("shape") if isinstance(value, dict) else None
    return isinstance(shape, list) and len(shape) == 3 and all(map(is_count, shape))


def is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def is_columns(value: object) -> bool:
    return isinstance(value, dict) and all(kind in KINDS for kind in value.values())


def is_label_sets(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(names, list) and are_texts(names) for names in value.values())


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def is_source(value: object) -> bool:
    return isinstance(value, dict) and are_texts([value.get("name"), value.get("sha256")])


def is_checksums(value: object) -> bool:
    return isinstance(value, dict) and are_texts([value.get(SIGNALS), value.get(RECORDS)])


def are_texts(values: Sequence[object]) -> bool:
    return all(map(is_text, values))


ENTRIES: dict[str, tuple[Callable[[object], bool], str]] = {
    "signals": (is_signals, "an object with a shape of three whole numbers"),
    "columns": (is_columns, f"an object that gives each column's kind, {', '.join(KINDS)}"),
    "n_records": (is_count, "a whole number"),
    "label_sets": (is_label_sets, "an object of lists of labels"),
    "labels": (is_text, "the name of a label set"),
    "preprocess": (is_object, "an object of settings"),
    READ: (is_object, "an object of options"),
    "source": (is_source, "an object with a name and a sha256"),
    "sha256": (is_checksums, f"an object with the checksums of {SIGNALS} and {RECORDS}"),
}
"""Entries that a manifest must have: the test that the value must pass, and what it should be, in words."""


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    signed = {**manifest, CHECKSUM: checksum_of(manifest)}
    write_text(path / MANIFEST, json.dumps(signed, indent=1, ensure_ascii=False) + "\n")


def checksum_of(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all entries except the checksum, independent of their order and spacing."""
    others = {key: value for key, value in manifest.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """Write failures.csv with a line for each record that was left out, or no file if there is none."""
    if not failures:
        (path / FAILURES).unlink(missing_ok=True)
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("name", "reason"), *failures])
    write_text(path / FAILURES, text.getvalue())


def read_failures(path: Path) -> tuple[tuple[str, str], ...]:
    if not (path / FAILURES).is_file():
        return ()
    try:
        with (path / FAILURES).open(newline="", encoding="utf-8") as file:
            return tuple((row["name"] or "", row["reason"] or "") for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise StoreError(f"{path / FAILURES}: not readable; delete {path} to prepare it again.") from error
