"""Uploaded files in a private folder. No name that a client sends is ever used as a path."""

import re
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

from data_prep.places import File
from data_prep.readers import OtherFile
from data_prep.safe_text import printable
from ecgmtl.inference.result import Failure, Result

LONGEST_NAME = 200
"""Length of a file's name in bytes up to which it is kept. Most file systems take 255."""
LONGEST_SHOWN = 300
"""Length of a client's name in characters up to which it is repeated."""
PUNCTUATION = frozenset(" .,()+=@~#&'[]-_")
SUFFIX = re.compile(r"\.[a-z0-9]{1,10}$")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that are devices on Windows."""


class Limits(NamedTuple):
    """Bounds of one request."""

    file_bytes: int = 16_000_000
    request_bytes: int = 64_000_000
    n_files: int = 256


class Upload(NamedTuple):
    """One file of a request."""

    name: str
    """Name as the client sent it, which may have folders, separated by / or \\."""
    size: int
    content: BinaryIO


class Shown(NamedTuple):
    """Client's name of a file, printable and not too long."""

    path: str
    name: str
    """Part after the folders. It cannot be cut from `path`, where control characters are spelled with a backslash."""

    @classmethod
    def of(cls, name: str) -> "Shown":
        """Return a client's name as it is shown."""
        path, base = (shorten(printable(text)) or "a file without a name" for text in (name, base_name(name)))
        return cls(path, base)


class Stored(NamedTuple):
    """Files of a request on disk."""

    folders: tuple[Path, ...]
    """A folder for each folder of the client, so that equal names do not meet."""
    names: Mapping[File, Shown]
    """Name to show for each stored file."""
    refused: tuple[Failure, ...]

    def renamed(self, result: Result) -> Result:
        """Return a result under the client's name of the file."""
        shown, stored = self.names[result.path], result.path.name
        path = Path(shown.path)
        if isinstance(result, OtherFile):
            return result._replace(path=path)
        if isinstance(result, Failure):
            return replace(result, path=path, reason=result.reason.replace(stored, shown.name))
        return replace(result, path=path)


@contextmanager
def store(uploads: Sequence[Upload], limits: Limits) -> Iterator[Stored]:
    """Write the files of a request into a private folder, which is removed when the block ends.

    A WFDB header names the file of its samples, so names are kept where they are harmless. Others are replaced.
    """
    refused: list[Failure] = []
    names: dict[File, Shown] = {}
    with TemporaryDirectory(prefix="ecgmtl-serve-") as root:
        folders: dict[tuple[str, int], Path] = {}
        for number, upload in enumerate(uploads):
            shown = Shown.of(upload.name)
            if upload.size > limits.file_bytes:
                refused.append(Failure(Path(shown.path), too_large(shown.name, upload.size, limits)))
                continue
            folder, name = folder_of(upload.name), harmless(base_name(upload.name), number)
            path = first_free(Path(root), folders, folder, name)
            with path.open("xb") as file:
                shutil.copyfileobj(upload.content, file)
            names[path] = shown
        yield Stored(tuple(folders.values()), names, tuple(refused))


def first_free(root: Path, folders: dict[tuple[str, int], Path], folder: str, name: str) -> Path:
    """Return a path for a file. A name that a folder of the client holds twice goes into a second folder."""
    copy = 0
    while True:
        inside = folders.setdefault((folder, copy), root / str(len(folders)))
        inside.mkdir(exist_ok=True)
        if not (inside / name).exists():
            return inside / name
        copy += 1


def base_name(name: str) -> str:
    """Return the part of a client's name after its folders."""
    return re.split(r"[/\\]", name)[-1]


def folder_of(name: str) -> str:
    """Return the folders of a client's name."""
    return name[: len(name) - len(base_name(name))]


def harmless(name: str, number: int) -> str:
    """Return a name if every system takes it as a plain file, or else one that is made from a number.

    The made one keeps the suffix, which may tell the format.
    """
    if (
        name
        and len(name.encode("utf-8", "replace")) <= LONGEST_NAME
        and all(c in PUNCTUATION or unicodedata.category(c)[0] in "LMN" for c in name)
        and not name.startswith(".")
        and not name.endswith((".", " "))
        and not RESERVED.fullmatch(name)
    ):
        return name
    suffix = SUFFIX.search(name.lower())
    return f"file-{number}{suffix[0] if suffix else ''}"


def shorten(name: str) -> str:
    """Return a name with the end of a long one, which has the suffix."""
    return name if len(name) <= LONGEST_SHOWN else f"…{name[-LONGEST_SHOWN:]}"


def too_large(name: str, size: int, limits: Limits) -> str:
    return (
        f"{name} has {size / 1e6:.1f} MB, but a file may have at most {limits.file_bytes / 1e6:g} MB here. Start the "
        "service with a larger --max-mb, or use `ecgmtl predict`, which has no such limit."
    )
