"""Access to remote places by fsspec: their folders are listed, and their files are read and copied.

fsspec and what it needs for a scheme are imported where such a place is named, and not before.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import unquote

from data_prep.attempts import attempts, is_final
from data_prep.places import PACKAGES, File, PlaceError, RemotePath, is_remote
from data_prep.record import RecordError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")
MOST_BYTES = 2**31
"""Size of the largest file that is fetched: the largest record that is read, of 2^29 values, in 4 bytes each."""
MOST_NAME_BYTES = 255
"""Length of the longest name of a local file."""
ATTEMPTS = {"s3": 1, "http": 3, "https": 3}
"""Number of attempts before a place counts as unreachable. s3fs itself retries what fails."""
THREADS = 16
"""Number of files that are fetched at a time."""


class Entry(NamedTuple):
    """A file or folder in a remote folder."""

    name: str
    """Empty for what has no name that can be reached."""
    is_folder: bool
    n_bytes: int | None
    """Size of a file; None where the place does not state it."""
    version: str
    """ETag or modification time, as far as the place states one."""


def is_folder(place: RemotePath) -> bool:
    """Return whether a place is a folder. On the web, folders end in a slash."""
    if place.url.endswith("/") or place.is_on_web:
        return place.url.endswith("/")
    try:
        return reach(place, lambda files: files.info(place.url)["type"] == "directory")
    except FileNotFoundError:
        return False


def is_file(file: File) -> bool:
    """Return whether there is a file here or elsewhere.

    Raises:
        RecordError: the remote place refuses to give it.
        PlaceError: the remote place cannot be reached. `exists` of a web server does not tell that.
    """
    if isinstance(file, Path):
        return file.is_file()
    try:
        read_beginning(file, 1)
    except FileNotFoundError:
        return False
    return True


def exists(place: RemotePath) -> bool:
    return reach(place, lambda files: bool(files.exists(place.url)))


def matches(place: RemotePath) -> list[RemotePath]:
    """Return the places that a pattern with * and [] matches, sorted by name."""
    urls = reach(place, lambda files: files.glob(place.url))
    return sorted(RemotePath(url if is_remote(url) else f"s3://{url}") for url in urls)


def list_folder(folder: RemotePath) -> Iterator[Entry]:
    """Yield the files and folders in a folder. Links of a web page to elsewhere are not followed.

    Raises:
        FileNotFoundError: there is no such folder.
        PlaceError: the place cannot be reached.
    """
    prefix = folder.url.removeprefix("s3://").rstrip("/") + "/"
    for entry in reach(folder, lambda files: files.ls(folder.url, detail=True)):
        if not entry["name"].startswith(prefix):
            continue
        is_within = entry["type"] == "directory"
        name = entry["name"].removeprefix(prefix).rstrip("/")
        if folder.is_on_web and (not name or re.search("[/?#]", name)):
            continue
        version = str(entry.get("ETag") or entry.get("LastModified") or "")
        yield Entry(unquote(name) if folder.is_on_web else name, is_within, entry.get("size"), version)


def read_beginning(file: RemotePath, at_most: int) -> bytes:
    """Return the first bytes of a file, all of it if it has no more than `at_most`.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the place refuses to give it.
        PlaceError: the place cannot be reached.
    """
    return reach(file, lambda files: (_stream if file.is_on_web else _get)(files, file.url, at_most))


def _stream(files: "AbstractFileSystem", url: str, at_most: int) -> bytes:
    content = bytearray()
    with files.open(url, "rb", block_size=0, size=1) as stream:  # a size, whatever it is, saves a request for it
        while len(content) < at_most and (chunk := stream.read(at_most - len(content))):
            content += chunk
    return bytes(content)


def _get(files: "AbstractFileSystem", url: str, at_most: int) -> bytes:
    try:
        return files.cat_file(url, start=0, end=at_most)
    except OSError as error:
        if error.errno == errno.EINVAL:  # an empty file has no first byte
            return b""
        raise


def fetch(file: RemotePath, folder: Path) -> Path:
    """Copy a file into a local folder, and return the copy.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it is too large, or the place refuses to give it.
        PlaceError: the place cannot be reached, or the copy cannot be written.
    """
    if not is_local_name(file.name):
        raise RecordError(f"{file}: no local file can have its name; rename it.")
    path = folder / file.name
    write_copy(path, file, read_all(file))
    return path


def read_all(file: RemotePath) -> bytes:
    """Return a file's content.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it is too large, or the place refuses to give it.
        PlaceError: the place cannot be reached.
    """
    content = read_beginning(file, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RecordError(f"{file.name} holds more than {MOST_BYTES} bytes, which is not fetched; cut it first.")
    return content


def sketch(folder: RemotePath, wanted: Mapping[str, int], into: Path) -> None:
    """Write a local file for each file of a remote folder: so many of its first bytes as are wanted, or an empty one.

    A file that the place refuses to give is empty, so that reading it says why.

    Raises:
        PlaceError: the place cannot be reached, or the files cannot be written.
    """

    def write(name: str) -> None:
        content = b""
        with suppress(FileNotFoundError, RecordError):
            content = read_beginning(folder / name, wanted[name]) if wanted[name] else b""
        write_copy(into / name, folder / name, content)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(write, wanted):
            pass


def write_copy(path: Path, file: RemotePath, content: bytes) -> None:
    """Write the copy of a file. Raise PlaceError where that fails, which is not the fault of the file."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise PlaceError(f"{file}: cannot be copied to {path.parent}: {error.strerror or error}.") from error


def is_local_name(name: str) -> bool:
    """Return whether a local file may have this name."""
    return bool(name.strip(".")) and not re.search(r"[/\\\0]", name) and len(os.fsencode(name)) <= MOST_NAME_BYTES


def reach(place: RemotePath, ask: Callable[["AbstractFileSystem"], T]) -> T:
    """Return the answer of a place, retrying after a pause if the connection fails.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: access to it is denied.
        PlaceError: the place cannot be reached.
    """
    files = file_system(place)
    for _ in attempts(ATTEMPTS[place.scheme]):
        try:
            return ask(files)
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise RecordError(f"{place.name}: access is denied; check the credentials.") from error
        except Exception as error:
            status = getattr(error, "status", None)
            if isinstance(status, int) and is_final(status):
                raise RecordError(f"{place.name}: the server answered {status}.") from error
            last = error
    raise PlaceError(
        f"{place}: cannot be reached ({type(last).__name__}); check the address, the credentials and the network."
    ) from last


def file_system(place: RemotePath) -> "AbstractFileSystem":
    """Return fsspec's file system for a place.

    Raises:
        PlaceError: a package is not installed.
    """
    try:
        import fsspec

        return fsspec.filesystem(place.scheme, use_listings_cache=False)
    except ImportError as error:
        raise PlaceError(
            f"{place}: the package {PACKAGES[place.scheme]} is not installed; to install it: "
            "pip install 'ecgmtl[remote]'"
        ) from error
