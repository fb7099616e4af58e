"""Checksum inside an exported file, by which damage is detected. The formats of models have none of their own."""

import re
from pathlib import Path

from ecgmtl.identity import sha256
from ecgmtl.inference.metadata import MetadataError

KEY = "ecgmtl-seal"
"""Key of the checksum among the metadata of an ONNX file."""
OPEN = f"{KEY}:{'0' * 64}"
"""Its value while the checksum is computed."""
SEAL = re.compile(KEY.encode() + rb":[0-9a-f]{64}")


def seal(path: Path) -> None:
    """Write the checksum of a file into the place that its metadata hold for it.

    Raises:
        ValueError: the file has no such place, or several.
    """
    content, n_places = SEAL.subn(OPEN.encode(), path.read_bytes())
    if n_places != 1:
        raise ValueError(f"{path.name} should hold one checksum among its metadata; found {n_places}")
    path.write_bytes(content.replace(OPEN.encode(), seal_of(content)))


def seal_of(content: bytes) -> bytes:
    """Return the checksum of a file that holds another one."""
    return f"{KEY}:{sha256(SEAL.sub(OPEN.encode(), content))}".encode()


def refuse_damage(content: bytes, source: str) -> None:
    """Raise MetadataError if a file does not have the checksum that it holds. Those of earlier versions hold none."""
    seals = SEAL.findall(content)
    if len(seals) == 1 and seals[0] != seal_of(content):
        raise MetadataError(f"{source}: is damaged (SHA-256 differs); use another copy, or export it again.")
