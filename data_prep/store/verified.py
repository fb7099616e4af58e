"""Verification of a prepared folder's files by their checksums, repeated only after they may have changed."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from data_prep.files import file_sha256, write_text
from data_prep.store.manifest import StoreError, changed

VERIFIED = "verified.json"
"""File of verified checksums, with the state of each file at that time. It may be deleted."""
WORTH_NOTING = 4_000_000
"""Size in bytes from which noting a verification is worth its time."""
SETTLED_NS = 100_000_000
"""Nanoseconds after its last write before which a file is not noted: a coarse clock gives writes within the same tick
the same time."""


def require_intact(folder: Path, expected: Mapping[str, str], *, anew: bool = False) -> None:
    """Raise StoreError if the SHA-256 of a file is not the expected one.

    A file is not hashed again while its size, inode and times are those of the last hashing. Every write is noticed,
    even if the time of modification was reset, since the time of the inode's change (ctime) cannot be set. Bits that a
    disk loses by itself change no time: with `anew` everything is hashed. A folder that cannot be written to is hashed
    each time.
    """
    noted = {} if anew else read_notes(folder)
    notes = {}
    for name, sha256 in expected.items():
        size, _, *times = state = state_of(folder / name)
        is_settled = time.time_ns() - max(times) > SETTLED_NS
        is_noted = noted.get(name) == [sha256, *state]
        if not is_noted:
            require_sha256(folder / name, sha256)
        if is_noted or (is_settled and size >= WORTH_NOTING):
            notes[name] = [sha256, *state]
    if notes and notes != noted:
        with suppress(OSError):
            write_text(folder / VERIFIED, json.dumps(notes))


def state_of(path: Path) -> tuple[int, int, int, int]:
    """Return the size, inode, time of modification and time of the inode's change of a file."""
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def read_notes(folder: Path) -> dict[str, object]:
    try:
        notes = json.loads((folder / VERIFIED).read_bytes())
    except (OSError, ValueError, RecursionError):  # there are no notes, or damaged ones
        return {}
    return notes if isinstance(notes, dict) else {}


def require_sha256(path: Path, expected: str) -> None:
    try:
        actual = file_sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if actual != expected:
        raise changed(path)


def unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: not readable ({error.strerror}); prepare the folder again.")
