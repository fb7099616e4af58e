"""What is already done of a preparation, a line a chunk, so that it can go on after it was interrupted."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.files import write_text
from data_prep.lock import locked
from data_prep.readers import ReadOptions
from data_prep.store.chunks import RECORDS_A_CHUNK, Chunk, Job
from data_prep.store.manifest import PROGRESS, READ, StoreError, is_count, is_object, is_source, is_text

REMARKS = ("failures", "warnings", "losses")
"""Fields of a chunk with a (row, text) for each record remarked on."""
MOST_RECORDS = 2**31


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Make the folder if need be, and hold it for this process alone.

    Raises:
        FolderInUseError: another process is preparing it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        yield


def begin(out: Path, wanted: Mapping[str, Any]) -> None:
    write_text(out / PROGRESS, json.dumps(wanted) + "\n")


def note(out: Path, chunk: Chunk) -> None:
    with (out / PROGRESS).open("a") as file:
        file.write(json.dumps(dataclasses.asdict(chunk)) + "\n")


def resume(out: Path, wanted: Mapping[str, Any]) -> list[Chunk]:
    """Return the chunks that an earlier run noted; raise StoreError if that run had other settings."""
    try:
        header, *lines = (out / PROGRESS).read_text(encoding="utf-8", errors="replace").split("\n")
        before = read_line(header)
    except ValueError as error:
        raise StoreError(f"{out / PROGRESS}: not readable; delete {out} and begin again.") from error
    if not is_wanted(before):
        raise StoreError(f"{out / PROGRESS}: its first line is not what was prepared; delete {out} and begin again.")
    require_same(out, before, wanted)
    return list(read_chunks(lines))


def is_wanted(before: Any) -> bool:
    """Whether it says what was to be prepared."""
    if not isinstance(before, dict) or not is_source(before.get("source")):
        return False
    return is_object(before.get("preprocess")) and is_object(before.get(READ, {}))


def read_chunks(lines: Sequence[str]) -> Iterator[Chunk]:
    """The chunks of all whole lines; one that was being written when the run ended, or is damaged, is none."""
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
    """Whether it names rows of one chunk and remarks on them; one of an earlier version lacks a key."""
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


def still_good(job: Job, chunks: list[Chunk]) -> list[Chunk]:
    """Those that need not be done again: without failures, which may be mended by now, and as written."""
    return [chunk for chunk in chunks if not chunk.failures and chunk.is_intact(job)]


def require_same(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StoreError naming the settings in which two preparations differ."""
    unstated = dataclasses.asdict(ReadOptions())  # of a folder that was begun before options were written down
    before = {**found["preprocess"], **as_options({**unstated, **found.get("read", {})})}
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
    if found["source"]["sha256"] != wanted["source"]["sha256"]:
        source = f"other records or tables ({found['source']['name']})"
        raise StoreError(f"{out} was made from {source}; choose another folder or delete it.")


def as_options(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return the read options under the names that they have on the command line."""
    return {f"--{name.replace('_', '-')}": value for name, value in read.items()}
