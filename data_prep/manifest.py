"""The files of a prepared folder: what they are called, and the manifest that says what the others are."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.files import write_text

FORMAT = 2
"""Version of the layout; a reader refuses any other. Since 2 records.csv says which records lost their voltage."""

SIGNALS = "signals.npy"
RECORDS = "records.csv"
MANIFEST = "manifest.json"
FAILURES = "failures.csv"
PROGRESS = "progress.jsonl"
LOST_VOLTAGE = "lost_voltage"
"""Column of records.csv: empty, or what lost its voltage by itself, `record` or `lead`."""
ENTRIES = ("signals", "columns", "n_records", "label_sets", "labels", "preprocess", "source", "sha256")
"""What a manifest is nothing without."""


class StoreError(ValueError):
    """A prepared folder that cannot be made or used; the message says which, what was found, and what would do."""


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a prepared folder; StoreError if there is none, or one that this version does not understand."""
    if not (path / MANIFEST).is_file():
        todo = "`ecgmtl data prepare SRC OUT` makes one"
        if (path / PROGRESS).is_file():
            todo = "its preparation was not finished; run `ecgmtl data prepare` again to go on"
        raise StoreError(f"{path} is no prepared folder, it has no {MANIFEST}: {todo}.")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        version = int(manifest["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path / MANIFEST}: not readable ({error}); prepare the folder again.") from error
    if version != FORMAT:
        age, todo = ("a newer", "update ecgmtl") if version > FORMAT else ("an older", "prepare the records again")
        raise StoreError(f"{path} was written by {age} ecgmtl (store {version}, this one reads {FORMAT}); {todo}.")
    missing = [key for key in ENTRIES if key not in manifest]
    if missing:
        raise StoreError(f"{path / MANIFEST}: no entry {', '.join(missing)}; prepare the folder again.")
    return manifest


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    write_text(path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def write_failures(path: Path, failures: Sequence[tuple[str, str]]) -> None:
    """failures.csv, a line a record that was left out; no file where there is none."""
    if not failures:
        (path / FAILURES).unlink(missing_ok=True)
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("name", "reason"), *failures])
    write_text(path / FAILURES, text.getvalue())


def read_failures(path: Path) -> tuple[tuple[str, str], ...]:
    if not (path / FAILURES).is_file():
        return ()
    with (path / FAILURES).open(newline="", encoding="utf-8") as file:
        return tuple((row["name"], row["reason"]) for row in csv.DictReader(file))


def require_sha256(path: Path, expected: str) -> None:
    """Raise StoreError if the file is not the one whose checksum was written down."""
    try:
        found = file_sha256(path)
    except OSError as error:
        raise StoreError(f"{path}: not readable ({error.strerror}); prepare the folder again.") from error
    if found != expected:
        raise StoreError(f"{path}: not as it was written, its checksum differs; prepare the folder again.")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
