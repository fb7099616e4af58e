"""Files that are either whole or not there, and what identifies their content."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import data_prep
import ecgmtl


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in place at once: a killed process leaves no half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def code_digest() -> str:
    """Identifies the code of both packages, so that a result is never taken for another code's.

    Read once a process: files edited while it runs are not what it runs.
    """
    digest = hashlib.sha256()
    for package in (data_prep, ecgmtl):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
