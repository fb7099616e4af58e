"""Files that are written completely or not at all."""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from data_prep.errors import UserError

NO_ROOM = "the disk is full", "Free some space"
FULL = {
    errno.ENOSPC: NO_ROOM,
    getattr(errno, "EDQUOT", errno.ENOSPC): NO_ROOM,
    errno.EFBIG: ("the file is larger than `ulimit -f` or the file system allows", "Raise that limit"),
}
"""Reason and remedy by error number: a full disk, an exceeded quota, and a limit on the size of files."""
TOKEN = os.urandom(4).hex()
"""Text that distinguishes this process from one with the same number on another machine."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it into place: a killed process leaves no half of it."""
    beside = partial(path)
    try:
        with naming(path):
            write(beside)
        with beside.open("r+b") as file:  # Windows flushes only files that may be written
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    flush_folder(path.parent)


@contextmanager
def written_in_parts(path: Path, error: type[UserError]) -> Iterator[Path]:
    """Yield a file beside `path` to be written in parts. It becomes `path` if the block ends without an error.

    Raises:
        error: `path` is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise error(f"{path}: is a folder; name a file.")
    beside = partial(path)
    with writing(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    try:
        with naming(path):
            yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, error: type[UserError]) -> Iterator[None]:
    """Turn the system's error about a file or folder that cannot be written into an `error` that names it.

    Raises:
        error: `path` cannot be written.
    """
    try:
        yield
    except OSError as reason:
        raise error(f"{path}: cannot be written: {reason.strerror or reason}.") from reason


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to the system's error, which does not say where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def flush_folder(path: Path) -> None:
    """Wait until the names of a folder's files are on disk, where the system can open a folder at all."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


PARTIALS = ".*.partial"
"""Pattern of temporary files in a folder."""
PARTIALS_BELOW = f"**/{PARTIALS}"
"""Pattern of temporary files in a folder and in those below it."""
SECONDS_OF_A_PARTIAL = 3600
"""Age of a partial file from which its process has been killed. One that is being written changes more often."""


def partial(path: Path) -> Path:
    """Return the temporary file that becomes `path` once it is complete. No process on any machine has another's."""
    return path.with_name(f".{path.name}.{os.getpid()}-{TOKEN}.partial")


def remove_matching(folder: Path, pattern: str) -> None:
    """Remove the files in a folder that match a pattern. Another process may remove them, too."""
    for path in list(folder.glob(pattern)):
        path.unlink(missing_ok=True)


def remove_abandoned(folder: Path, pattern: str = PARTIALS) -> None:
    """Remove partial files that killed processes left. Other processes may be writing theirs."""
    for path in list(folder.glob(pattern)):
        try:
            if time.time() - path.stat().st_mtime > SECONDS_OF_A_PARTIAL:
                path.unlink()
        except FileNotFoundError:  # another process removed it, or completed it
            continue


def partials_of(path: Path) -> str:
    """Return the pattern of the temporary files of `path` in its folder."""
    return f".{escape(path.name)}.*.partial"


def remove_partials(path: Path) -> None:
    """Remove temporary files of `path` that killed processes left. The caller is the only one that writes it."""
    remove_matching(path.parent, partials_of(path))


def is_partial(path: Path) -> bool:
    """Return whether this is a partial file that a killed process left."""
    return path.name.startswith(".") and path.suffix == ".partial"


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file with exactly these characters and move it into place at once."""
    write_whole(path, lambda beside: beside.write_bytes(text.encode()))


def write_first(path: Path, text: str) -> bool:
    """Write a UTF-8 file unless it exists, and return whether it was written.

    Of several processes that write it at once, on any machines, one succeeds.
    """
    beside = partial(path)
    try:
        beside.write_bytes(text.encode())
        path.hardlink_to(beside)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links, where two processes may both succeed
        if path.exists():
            return False
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
