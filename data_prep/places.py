"""Paths of files here and addresses of remote places: S3-compatible stores and web servers, which `remote` reaches."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeGuard
from urllib.parse import quote, unquote, urlsplit

from data_prep.errors import UserError

PACKAGES = {"s3": "s3fs", "http": "aiohttp", "https": "aiohttp"}
"""Package that fsspec needs for each scheme."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class PlaceError(UserError):
    """A remote place that cannot be reached at all, which is not the fault of a single file."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder at a remote place. `local_copy` of the readers makes it a file that can be read."""

    url: str
    state: str = field(default="", compare=False)
    """Sizes and versions of the files that a record is read from, as far as the place states them."""

    @classmethod
    def parse(cls, url: str) -> "RemotePath":
        """Return the place with this address.

        Raises:
            PlaceError: it is of an unknown scheme, or holds a password or a query, which would end up in tables.
        """
        scheme = url.partition("://")[0].lower()
        if scheme not in PACKAGES:
            raise PlaceError(
                f"{scheme}://…: should be a local path, or begin with {', '.join(f'{s}://' for s in PACKAGES)}."
            )
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise PlaceError(f"{scheme}://…: holds a user name or a password; set them in the environment.")
        if scheme != "s3" and (parts.query or parts.fragment):
            raise PlaceError(f"{scheme}://{parts.netloc}…: holds a query (? or #); name only the file.")
        if not parts.netloc:
            raise PlaceError(f"{url}: names no {'bucket' if scheme == 's3' else 'server'}.")
        return cls(f"{scheme}://{url.partition('://')[2]}")

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def is_on_web(self) -> bool:
        return self.scheme != "s3"

    @property
    def name(self) -> str:
        last = self.url.rstrip("/").rpartition("/")[2]
        return unquote(last) if self.is_on_web else last

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    def with_name(self, name: str) -> "RemotePath":
        """Return the file of another name beside this one."""
        return RemotePath(self.url.rstrip("/").rpartition("/")[0]) / name

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{quote(name) if self.is_on_web else name}")

    def __str__(self) -> str:
        return self.url


File = Path | RemotePath
"""File of a record, which lies here or elsewhere."""
AnyPath = str | os.PathLike[str]
"""Path, or text that may also be the address of a remote place."""


def parse_place(path: AnyPath) -> File:
    """Return a path, or the remote place that an address names.

    Raises:
        PlaceError: the address cannot be used.
    """
    return RemotePath.parse(path) if is_remote(path) else Path(path)


def is_remote(path: AnyPath) -> TypeGuard[str]:
    """Return whether a text is the address of a remote place."""
    return isinstance(path, str) and _URL.match(path) is not None
