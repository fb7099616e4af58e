"""Ledgers of a preparation: a line for each finished chunk, so that an interrupted preparation can resume.

There is one for the whole folder, and one for each job that prepares a share of it: processes on several machines
cannot append to the same file of a network file system.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_prep.files import naming, remove_matching, write_text
from data_prep.readers.options import ReadOptions, as_typed
from data_prep.share import Share
from data_prep.store.chunks import RECORDS_A_CHUNK, Chunk
from data_prep.store.manifest import PROGRESS, READ, StoreError, is_count, is_object, is_source, is_text
from data_prep.store.signals_file import SignalsFile

REMARKS = ("failures", "warnings", "losses", "undecided")
"""Fields of a chunk that hold (row, text) pairs."""
MOST_RECORDS = 2**31
N_SHARES = "n_shares"
"""Entry of a ledger's first line: the number of jobs that share the folder."""
OF_JOBS = {"labels": "--labels", "version": "the version of ecgmtl"}
"""Further entries that all jobs have in common, and what they are called."""


def path_of(out: Path, share: Share | None) -> Path:
    """Return the path of a ledger: of a job's share, or of runs without shares. Each has one writer at a time."""
    return out / (PROGRESS if share is None else f"progress-{share.index}-of-{share.n_shares}.jsonl")


def write(path: Path, chunks: Iterable[Chunk], header: Mapping[str, Any] | None = None) -> None:
    """Write a ledger from the beginning. That of the whole folder begins with the settings of the preparation."""
    lines = [*([] if header is None else [header]), *map(dataclasses.asdict, chunks)]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def note(path: Path, chunk: Chunk) -> None:
    with naming(path), path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(chunk)) + "\n")


def resume(out: Path, wanted: Mapping[str, Any]) -> list[Chunk]:
    """Return the chunks that earlier runs and jobs noted. Raise StoreError if they had other settings."""
    before, chunks = read_begun(out)
    require_same(out, before, wanted)
    return [*chunks, *gather(out, before.get(N_SHARES, 0))]


def join(out: Path, wanted: Mapping[str, Any], share: Share) -> None:
    """Begin a folder for jobs, or compare its settings with those of the first job. The caller is in the gate.

    What an interrupted run without shares did is kept, except chunks with failures, which their jobs try again.

    Raises:
        StoreError: the settings differ.
    """
    chunks: list[Chunk] = []
    if (out / PROGRESS).exists():
        before, chunks = read_begun(out)
        require_same(out, before, wanted)
        if N_SHARES in before:
            require_same_shares(out, before[N_SHARES], share)
            return
    header = {**wanted, N_SHARES: share.n_shares}
    write(out / PROGRESS, [chunk for chunk in chunks if not chunk.failures], header)


def require_same_shares(out: Path, n_shares: int, share: Share) -> None:
    if n_shares != share.n_shares:
        raise StoreError(
            f"{out} was begun with --part I/{n_shares}, this asks for {share}; give every job the same number, or "
            "complete the folder with the same command without --part."
        )


def gather(out: Path, n_shares: int) -> list[Chunk]:
    """Return the chunks that jobs have noted."""
    chunks: list[Chunk] = []
    for index in range(1, n_shares + 1):
        with suppress(FileNotFoundError):  # by its name, as locks are looked at
            chunks += read_share(path_of(out, Share(index, n_shares)))
    return chunks


def read_share(path: Path) -> list[Chunk]:
    """Return the chunks in the ledger of a share. Raise FileNotFoundError if its job has not begun."""
    return list(read_chunks(path.read_text(encoding="utf-8", errors="replace").split("\n")))


def read_begun(out: Path) -> tuple[dict[str, Any], list[Chunk]]:
    """Return what was to be prepared, and the chunks that were noted by runs without shares.

    Raises:
        StoreError: that cannot be read.
    """
    try:
        header, *lines = (out / PROGRESS).read_text(encoding="utf-8", errors="replace").split("\n")
        before = read_line(header)
    except ValueError as error:
        raise StoreError(f"{out / PROGRESS}: not readable; delete {out} and start again.") from error
    if not is_wanted(before):
        raise StoreError(
            f"{out / PROGRESS}: its first line does not say what was prepared; delete {out} and start again."
        )
    return before, list(read_chunks(lines))


def remove(out: Path) -> None:
    """Remove all ledgers."""
    remove_shares(out)
    (out / PROGRESS).unlink(missing_ok=True)


def remove_shares(out: Path) -> None:
    """Remove the ledgers of shares, whose chunks the one of the whole folder has."""
    remove_matching(out, "progress-*-of-*.jsonl")


def is_wanted(before: Any) -> bool:
    """Return whether the first line of a ledger says what was to be prepared."""
    if not isinstance(before, dict) or not is_source(before.get("source")):
        return False
    n_shares = before.get(N_SHARES, 1)
    return is_object(before.get("preprocess")) and is_object(before.get(READ, {})) and is_count(n_shares)


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


def reusable(signals: SignalsFile, chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks that need not be prepared again: those that are intact and had no failures."""
    return intact(signals, (chunk for chunk in chunks if not chunk.failures))


def intact(signals: SignalsFile, chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks whose rows are on disk, each once."""
    return list({chunk.first: chunk for chunk in chunks if chunk.is_intact(signals)}.values())


def require_same(out: Path, existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise StoreError naming the settings in which two preparations differ."""
    unstated = dataclasses.asdict(ReadOptions())  # in folders written before options were recorded
    before = {**existing["preprocess"], **as_typed({**unstated, **existing.get("read", {})})}
    now = {**wanted["preprocess"], **as_typed(wanted["read"])}
    if N_SHARES in existing:  # its jobs have more in common
        for key, name in OF_JOBS.items():
            if key in wanted:
                before[name], now[name] = existing.get(key), wanted[key]
    differences = [
        f"{name} {before.get(name)}, this asks for {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise StoreError(
            f"{out} was made with different settings ({'; '.join(differences)}); choose another folder or delete it."
        )
    if existing["source"]["sha256"] != wanted["source"]["sha256"]:
        source = f"different records or tables ({existing['source']['name']})"
        raise StoreError(f"{out} was made from {source}; choose another folder or delete it.")
