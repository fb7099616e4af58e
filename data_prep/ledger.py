"""What is already done of a preparation, a line a chunk, so that it can go on after it was interrupted."""

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data_prep.chunks import Chunk, Job
from data_prep.files import write_text
from data_prep.manifest import PROGRESS, StoreError
from data_prep.readers import ReadOptions


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """The folder, made if need be, and for this process alone; StoreError if another is preparing it."""
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(f"{out} is being prepared by another process; wait for it or stop it.") from error
        yield
    finally:
        os.close(folder)


def begin(out: Path, wanted: Mapping[str, Any]) -> None:
    write_text(out / PROGRESS, json.dumps(wanted) + "\n")


def note(out: Path, chunk: Chunk) -> None:
    with (out / PROGRESS).open("a") as file:
        file.write(json.dumps(dataclasses.asdict(chunk)) + "\n")


def resume(out: Path, wanted: Mapping[str, Any]) -> list[Chunk]:
    """The chunks that an earlier run noted; StoreError if that run was after something else."""
    header, *lines = (out / PROGRESS).read_text().split("\n")
    try:
        before = json.loads(header)
    except ValueError as error:
        raise StoreError(f"{out / PROGRESS}: not readable ({error}); delete {out} and begin again.") from error
    require_same(out, before, wanted)
    return list(read_chunks(lines))


def read_chunks(lines: Sequence[str]) -> Iterator[Chunk]:
    """The chunks of all whole lines; one that was being written when the run ended is none."""
    for line in lines:
        with suppress(ValueError, KeyError):  # of an earlier version
            yield read_chunk(json.loads(line))


def read_chunk(noted: Mapping[str, Any]) -> Chunk:
    remarks = {key: tuple((row, text) for row, text in noted[key]) for key in ("failures", "warnings", "losses")}
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
