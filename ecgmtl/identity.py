"""What identifies data, and the code that ran on it."""

import hashlib
from functools import cache
from pathlib import Path

import data_prep
import ecgmtl


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
