"""A folder that only one process at a time writes into."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from data_prep.errors import UserError
from data_prep.files import PARTIALS, remove_matching

LOCK = ".lock"
"""Name of the lock file. It stays in its folder, and is locked only while a process holds it."""


class FolderInUseError(UserError):
    """A folder that another process is writing into; the message names both."""


@contextmanager
def locked(
    folder: Path,
    partials: str | None = PARTIALS,
    name: str = LOCK,
    *,
    waits: bool = False,
    is_needed: bool = False,
) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process even if that is killed.

    Files that match `partials` are what killed processes left, since whoever holds the lock writes alone. They are
    removed. A file system without locks is written to without one, unless it `is_needed`. Locks of other names are for
    processes that write other files of the folder; no `partials` are theirs.

    Raises:
        FolderInUseError: another process holds it, and this one does not wait for it.
        OSError: the file system has no locks, or the folder cannot be written, and a lock `is_needed`.
    """
    path = folder / name
    # a lock that is only a file would outlive a killed process, and whoever waits for it would wait forever
    lock = FileLock(path, fallback_to_soft=not is_needed)
    try:
        lock.acquire(timeout=-1 if waits else 0)
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        if partials:
            remove_matching(folder, partials)
    except Timeout as error:
        raise FolderInUseError(
            f"{folder} is in use by {holder_of(path)}; wait for it, stop it, or choose another folder."
        ) from error
    except OSError:  # no locks here, a locked file on Windows, or a folder that cannot be written at all
        if is_needed and not lock.is_locked:
            raise
    try:
        yield
    finally:
        lock.release()


def holder_of(path: Path) -> str:
    """Return which process holds a lock file, as far as that is known."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"
