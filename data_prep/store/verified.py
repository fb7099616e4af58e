"""Whether the files of a prepared folder are as they were written, hashed again only after they may have changed."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from data_prep.files import write_text
from data_prep.store.manifest import StoreError, file_sha256

VERIFIED = "verified.json"
"""Checksums that were found right, with the state of the file at that time. Deleting it costs one more hashing."""
WORTH_NOTING = 4_000_000
"""Bytes; hashing a smaller file takes less time than noting that it was hashed."""
SETTLED_NS = 100_000_000
"""Nanoseconds after its last write from which on a file is noted: a clock that ticks coarsely gives a write within the
same tick the same time."""


def require_intact(folder: Path, expected: Mapping[str, str], *, anew: bool = False) -> None:
    """Raise StoreError if a file is not the one whose SHA-256 was written down.

    A file is not hashed again while its size, inode and times are those of the last hashing. Every write is noticed,
    also one after which the time of modification was set back, since the time of the inode's change (ctime) cannot be
    set. Bits that a disk loses by itself change no time: with `anew` all is hashed, whatever was noted. A folder that
    cannot be written to is hashed each time.
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
    """Return what changes with a file: size, inode, time of modification and time of the inode's change."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def read_notes(folder: Path) -> dict[str, object]:
    try:
        notes = json.loads((folder / VERIFIED).read_bytes())
    except (OSError, ValueError, RecursionError):  # nothing is noted, or nothing that can be relied on
        return {}
    return notes if isinstance(notes, dict) else {}


def require_sha256(path: Path, expected: str) -> None:
    try:
        found = file_sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if found != expected:
        raise StoreError(f"{path}: not as it was written, its checksum differs; prepare the folder again.")


def unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: not readable ({error.strerror}); prepare the folder again.")
