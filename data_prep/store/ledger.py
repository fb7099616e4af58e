"""Ledger of the finished chunks of a preparation, one line each, so that an interrupted one can resume."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.files import naming, write_text
from data_prep.lock import locked
from data_prep.readers import ReadOptions
from data_prep.store.chunks import RECORDS_A_CHUNK, Chunk, Job
from data_prep.store.manifest import PROGRESS, READ, StoreError, is_count, is_object, is_source, is_text

REMARKS = ("failures", "warnings", "losses")
"""Fields of a chunk that hold (row, text) pairs."""
MOST_RECORDS = 2**31


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Create the folder if necessary, and lock it for this process.

    Raises:
        FolderInUseError: another process is preparing it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        yield


def start(out: Path, wanted: Mapping[str, Any]) -> None:
    write_text(out / PROGRESS, json.dumps(wanted) + "\n")


def note(out: Path, chunk: Chunk) -> None:
    with naming(out / PROGRESS), (out / PROGRESS).open("a") as file:
        file.write(json.dumps(dataclasses.asdict(chunk)) + "\n")


def resume(out: Path, wanted: Mapping[str, Any]) -> list[Chunk]:
    """Return the chunks that an earlier run noted. Raise StoreError if that run had other settings."""
    try:
        header, *lines = (out / PROGRESS).read_text(encoding="utf-8", errors="replace").split("\n")
        before = read_line(header)
    except ValueError as error:
        raise StoreError(f"{out / PROGRESS}: not readable; delete {out} and start again.") from error
    if not is_wanted(before):
        raise StoreError(
            f"{out / PROGRESS}: its first line does not say what was prepared; delete {out} and start again."
        )
    require_same(out, before, wanted)
    return list(read_chunks(lines))


def is_wanted(before: Any) -> bool:
    """Return whether the first line of a ledger says what was to be prepared."""
    if not isinstance(before, dict) or not is_source(before.get("source")):
        return False
    return is_object(before.get("preprocess")) and is_object(before.get(READ, {}))


def read_chunks(lines: Sequence[str]) -> Iterator[Chunk]:
    """Yield the chunks of all complete lines. A line that is damaged or was cut off is skipped."""
    for line in lines:
        with suppress(ValueError):
            noted = read_line(line)
            if is_chunk(noted):
                yield read_chunk(noted)


def read_line(line: str) -> Any:
    try:
        return json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_chunk(noted: Any) -> bool:
    """Return whether a line is a chunk with its rows and remarks. A chunk of an earlier version lacks a key."""
    if not isinstance(noted, dict) or not all(is_count(noted.get(key)) for key in ("first", "n_records", "crc32")):
        return False
    rows = range(noted["first"], noted["first"] + noted["n_records"])
    return (
        noted["first"] < MOST_RECORDS
        and noted["n_records"] <= RECORDS_A_CHUNK
        and all(are_remarks(noted.get(key), rows) for key in REMARKS)
    )


def are_remarks(pairs: object, rows: range) -> bool:
    return isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and is_count(pair[0]) and pair[0] in rows and is_text(pair[1])
        for pair in pairs
    )


def read_chunk(noted: Mapping[str, Any]) -> Chunk:
    remarks = {key: tuple((row, text) for row, text in noted[key]) for key in REMARKS}
    return Chunk(noted["first"], noted["n_records"], noted["crc32"], **remarks)


def reusable(job: Job, chunks: list[Chunk]) -> list[Chunk]:
    """Return the chunks that need not be prepared again: those that are intact and had no failures."""
    return [chunk for chunk in chunks if not chunk.failures and chunk.is_intact(job)]


def require_same(out: Path, existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StoreError naming the settings in which two preparations differ."""
    unstated = dataclasses.asdict(ReadOptions())  # in folders from before options were written down
    before = {**existing["preprocess"], **as_options({**unstated, **existing.get("read", {})})}
    now = {**wanted["preprocess"], **as_options(wanted["read"])}
    differences = [
        f"{name} {before.get(name)}, this asks for {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise StoreError(
            f"{out} was made with other settings ({'; '.join(differences)}); choose another folder or delete it."
        )
    if existing["source"]["sha256"] != wanted["source"]["sha256"]:
        source = f"other records or tables ({existing['source']['name']})"
        raise StoreError(f"{out} was made from {source}; choose another folder or delete it.")


def as_options(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return the read options under the names that they have on the command line."""
    return {f"--{name.replace('_', '-')}": value for name, value in read.items()}
