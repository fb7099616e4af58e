"""Safe opening of files that may be missing, a pipe, a link to elsewhere, or larger than the memory."""

import os
import stat
from pathlib import Path

from data_prep.record import RecordError

MAX_VALUES = 2**29
"""Largest number of samples times leads of a record: a little more than 24 hours of 12 leads at 500 Hz."""
HEAD = 2**14
"""Number of bytes at the beginning of a file by which its format is recognized."""
POINTERS = {
    b"/annex/objects/": "git annex get .",
    b"version https://git-lfs": "git lfs pull",
}
"""First bytes of files that stand for others, and the command that fetches those."""


def regular_size(path: Path, missing: str = "there is no such file") -> int:
    """Return the size of a regular file in bytes. Anything else is refused before it is opened: a pipe might hang."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = missing if absent else getattr(error, "strerror", None) or "its name is not a file name"
        if absent and os.path.islink(path):  # noqa: PTH114, accepts an impossible name
            reason = _dangling(path)
        raise RecordError(f"{path.name or path}: {reason}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise RecordError(f"{path.name or path} is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        raise RecordError(f"{path.name} is a pipe, socket or device; only regular files are read.")
    return status.st_size


def _dangling(path: Path) -> str:
    """Return the reason why a link leads to nothing."""
    if f".git{os.sep}annex" in os.readlink(path):  # noqa: PTH115, a text is enough
        return (
            f"its content is not here yet; run 'git annex get {path.name}' or 'datalad get {path.name}' in its folder"
        )
    return "a link to a file that is not there"


def refuse_pointer(name: str, content: bytes) -> None:
    """Raise RecordError for a pointer of git-annex or Git LFS, which stands for content that is elsewhere."""
    for beginning, command in POINTERS.items():
        if content.startswith(beginning):
            raise RecordError(f"{name} is a pointer to content that is not here yet; run '{command}' in its folder.")


def refuse_outside_link(path: Path, beside: Path) -> None:
    """Raise RecordError if `path` is a link that leads out of the real folder of `beside`."""
    if os.path.islink(path) and path.resolve().parent != beside.resolve().parent:  # noqa: PTH114, half the time
        raise RecordError(
            f"{path.name} is a link out of the folder of {beside.name}; put the file itself there, link the folder, or "
            "pass --follow-links if you trust where it leads (as in git-annex and DataLad)."
        )


def read_head(path: Path) -> bytes:
    """Return the first HEAD bytes of a regular file, or none if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(HEAD)
    except (OSError, ValueError):
        return b""


def read_bytes(path: Path, at_most: int, missing: str = "there is no such file") -> bytes:
    """Return the content of a regular file. A file of more than `at_most` bytes is refused unread."""
    size = regular_size(path, missing)
    if size > at_most:
        raise RecordError(f"{path.name} holds {size} bytes; such a file has at most {at_most}.")
    return path.read_bytes()


def require_sane_size(name: str, n_samples: int, n_leads: int) -> None:
    """Raise RecordError if there are more values than may be allocated."""
    if n_samples * n_leads > MAX_VALUES:
        raise RecordError(
            f"{name}: {n_samples} samples of {n_leads} leads are promised, more than {MAX_VALUES} values; "
            "the number is damaged, or the recording must be cut first."
        )
