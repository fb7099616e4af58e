"""Texts of variable length in HDF5 files, as h5py writes them by default.

HDF5 keeps them in heaps, and may not return from a damaged one. So the heaps are read here, each within the bounds of
the file and once.

The format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html (global heap)
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_prep.readers.hdf5_datasets import Dataset
from data_prep.record import RecordError

MAX_HEAPS = 2**25
"""Largest size in bytes of all heaps that are read."""
MAX_LENGTH = 2**10
"""Largest text in bytes."""
REFERENCE = np.dtype([("size", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""Stored value of a text: its length, the address of its heap, and its number there."""
_HEAD = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HH4xQ")


def read_texts(path: Path, dataset: Dataset) -> list[bytes]:
    """Return the texts of a dataset of one axis.

    Raises:
        RecordError: they are damaged, or stored in a way that is not read.
    """
    from h5py import h5i

    plist = h5i.get_file_id(dataset.id).get_create_plist()
    if tuple(plist.get_sizes()) != (8, 8):
        raise RecordError(f"{path.name} has addresses of a size other than 8 bytes, which are not supported.")
    base, left, texts = plist.get_userblock(), MAX_HEAPS, []
    heaps: dict[int, dict[int, bytes]] = {0: {}}  # a text of no bytes is in none
    with path.open("rb") as file:
        for size, heap, index in _references(file, dataset).ravel().tolist():
            if heap not in heaps:
                content = _heap(path.name, file, base + heap, left)
                heaps[heap], left = dict(_objects(content)), left - len(content) - _HEAD.size
            text = heaps[heap].get(index, b"")
            if not size <= min(len(text), MAX_LENGTH):
                raise RecordError(f"{path.name} has a text that is damaged, or longer than {MAX_LENGTH} bytes.")
            texts.append(text[:size])
    return texts


def _references(file: BinaryIO, dataset: Dataset) -> np.ndarray:
    stored = replace(dataset, dtype=REFERENCE)
    if dataset.chunk:
        stored.check()
        return stored.unpack(0, dataset.shape[0])
    offset = dataset.id.get_offset()
    if offset is None:
        raise RecordError(f"{dataset.place.source} has texts that were never written.")
    file.seek(offset)
    return np.frombuffer(file.read(dataset.shape[0] * REFERENCE.itemsize), REFERENCE)


def _heap(name: str, file: BinaryIO, address: int, at_most: int) -> bytes:
    """Return the content of a heap."""
    file.seek(min(address, 2**62))
    head = file.read(_HEAD.size)
    mark, version, size = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, 0)
    if mark != b"GCOL" or version != 1 or not _HEAD.size <= size <= at_most:
        raise RecordError(f"{name} has texts in a heap that cannot be read; it is damaged, or the texts are too many.")
    return file.read(size - _HEAD.size)


def _objects(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each object in the content of a heap."""
    at = 0
    while at + _OBJECT.size <= len(content):
        index, _, length = _OBJECT.unpack_from(content, at)
        if not index:  # the rest is free
            return
        at += _OBJECT.size
        yield index, content[at : at + length]
        at += length + -length % 8
