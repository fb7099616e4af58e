"""Datasets of numbers and texts in HDF5 files, read within bounds and from the file itself alone.

Only hard links are followed, and neither virtual datasets nor external storage are read, so that no other file is
opened. Values of variable length are not read here: HDF5 2.0 may not return from them where the file is damaged. Chunks
that deflate packed are unpacked here, because HDF5 unpacks without a bound.

The format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from data_prep.extras import import_extra
from data_prep.readers.files import regular_size
from data_prep.record import RecordError

MAX_OBJECTS = 4096
"""Largest number of links that are looked at."""
MAX_ATTRIBUTES = 256
"""Largest number of a dataset's attributes that are looked at."""
MAX_CHUNK = 2**28
"""Largest chunk in bytes."""
MAX_CHUNKS = 2**16
"""Largest number of chunks that the values of one step along the first axis are spread over."""
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
"""Numbers of the filters that are read."""
_OVERHEAD = 2**12
"""Number of bytes by which a packed chunk may be larger than its values."""


class Place(NamedTuple):
    """Location of a dataset."""

    source: str
    """Name of the file."""
    name: str
    group: int
    """Address of the group that it is in."""


@dataclass(frozen=True)
class Dataset:
    """A dataset, none of whose values is read yet."""

    place: Place
    id: Any
    shape: tuple[int, ...]
    dtype: np.dtype
    chunk: tuple[int, ...] | None
    filters: tuple[int, ...]
    """Numbers of the filters in the order in which they packed a chunk."""

    @property
    def n_together(self) -> int:
        """Number of steps along the first axis whose values are packed together."""
        return self.chunk[0] if self.chunk else 1

    def check(self) -> None:
        """Raise RecordError if the values are packed in a way that is not read."""
        known = [code for code in (SHUFFLE, DEFLATE, FLETCHER32) if code in self.filters]
        if list(self.filters) not in (known, [LZF], [SHUFFLE, LZF], [LZF, FLETCHER32], [SHUFFLE, LZF, FLETCHER32]):
            raise RecordError(
                f"{self.place.source} is compressed by filters other than gzip, lzf and shuffle; decompress it with "
                "h5repack -f NONE."
            )
        steps = self.chunk or self.shape
        n_chunks = math.prod(math.ceil(size / step) for size, step in zip(self.shape[1:], steps[1:], strict=True))
        if self._chunk_bytes > MAX_CHUNK or n_chunks > MAX_CHUNKS:
            raise RecordError(
                f"{self.place.source} is stored in chunks of {self._chunk_bytes} bytes, which are too large or too "
                "many; store it as one piece with h5repack -l CONTI."
            )

    def read(self, first: int, count: int) -> Shaped[np.ndarray, "..."]:
        """Read `count` steps along the first axis, from number `first` on. `check` comes before."""
        if DEFLATE in self.filters:
            return self.unpack(first, count)
        from h5py import h5s

        values, space = np.empty((count, *self.shape[1:]), self.dtype), self.id.get_space()
        space.select_hyperslab((first, *[0] * (len(self.shape) - 1)), values.shape)
        self.id.read(h5s.create_simple(values.shape), space, values, self.id.get_type())
        return values

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self.chunk or ()) * self.dtype.itemsize

    def unpack(self, first: int, count: int) -> Shaped[np.ndarray, "..."]:
        """Read from the chunks that hold these steps, without HDF5's functions."""
        chunk, values = self.chunk or self.shape, np.empty((count, *self.shape[1:]), self.dtype)
        wanted = [(first, first + count), *((0, size) for size in self.shape[1:])]
        axes = list(zip(wanted, chunk, strict=True))
        for start in product(*(range(begin - begin % step, end, step) for (begin, end), step in axes)):
            target, part = [], []
            for at, ((begin, end), step) in zip(start, axes, strict=True):
                low, high = max(at, begin), min(at + step, end)
                target.append(slice(low - begin, high - begin))
                part.append(slice(low - at, high - at))
            values[tuple(target)] = self._chunk_at(start)[tuple(part)]
        return values

    def _chunk_at(self, start: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
        chunk, stored = self.chunk or self.shape, self.id.get_chunk_info_by_coord(start)
        if stored.byte_offset is None:  # never written
            fill = np.zeros((), self.dtype)
            self.id.get_create_plist().get_fill_value(fill)
            return np.broadcast_to(fill, chunk)
        if stored.size > 2 * self._chunk_bytes + _OVERHEAD:
            raise RecordError(
                f"{self.place.source} has a compressed chunk that is larger than its values; it is damaged."
            )
        mask, content = self.id.read_direct_chunk(start)
        for place in reversed(range(len(self.filters))):
            if not mask >> place & 1:
                content = self._undo(self.filters[place], content)
        if len(content) != self._chunk_bytes:
            raise RecordError(f"{self.place.source} has a chunk of a size other than it states; it is damaged.")
        return np.frombuffer(content, self.dtype).reshape(chunk)

    def _undo(self, code: int, content: bytes) -> bytes:
        """Undo a filter. The checksum is cut off, since deflate has one of its own."""
        if code == FLETCHER32:
            return content[:-4]
        if code == LZF:
            raise RecordError(
                f"{self.place.source} has texts compressed with lzf, which is not supported; use h5repack -f GZIP=4."
            )
        if code == DEFLATE:
            inflater = zlib.decompressobj()
            content = inflater.decompress(content, self._chunk_bytes + 1)
            if not inflater.eof:
                raise RecordError(f"{self.place.source} has a compressed chunk that is damaged.")
            return content
        return np.frombuffer(content, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()


class Datasets(NamedTuple):
    """The datasets of a file."""

    own: tuple[Dataset, ...]
    """Those of numbers and texts whose values are in the file."""
    n_elsewhere: int
    """Number of datasets and links that refer to other files."""


@contextmanager
def open_datasets(path: Path) -> Iterator[Datasets]:
    """Open a file, and yield its datasets.

    Raises:
        MissingExtraError: h5py is not installed.
        RecordError: it is not a file.
    """
    h5py = import_extra("h5py", path.name)
    regular_size(path)
    with h5py.File(path, "r", locking="best-effort") as file:
        datasets = list(_walk(path.name, h5py, file))
        yield Datasets(tuple(each for each in datasets if each is not None), datasets.count(None))


def _walk(name: str, h5py: Any, file: Any) -> Iterator[Dataset | None]:
    """Yield the datasets of all groups, and None for what refers to another file. Each group is looked into once."""
    groups, seen, n_links = [h5py.h5g.open(file.id, b"/")], set[int](), 0
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group).addr
        if address in seen:
            continue
        seen.add(address)
        for link in group:
            n_links += 1
            if n_links > MAX_OBJECTS:
                return
            kind = group.links.get_info(link).type
            if kind == h5py.h5l.TYPE_EXTERNAL:
                yield None
            if kind != h5py.h5l.TYPE_HARD:
                continue
            target = h5py.h5o.open(group, link)
            if isinstance(target, h5py.h5g.GroupID):
                groups.append(target)
            elif isinstance(target, h5py.h5d.DatasetID):
                yield from _datasets_of(Place(name, link.decode("utf-8", "replace"), address), h5py, target)


def _datasets_of(place: Place, h5py: Any, target: Any) -> Iterator[Dataset | None]:
    """Yield a dataset of numbers or texts, and None for one whose values are in other files.

    The shape of a virtual dataset is not asked for, since HDF5 would open the files that it stands for.
    """
    plist = target.get_create_plist()
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL or plist.get_external_count():
        yield None
        return
    dtype, shape = plain_type(h5py, target.get_type()), target.shape
    if dtype is not None and shape:
        chunk = tuple(plist.get_chunk()) if layout == h5py.h5d.CHUNKED else None
        filters = tuple([plist.get_filter(index)[0] for index in range(plist.get_nfilters())])
        yield Dataset(place, target, tuple(shape), dtype, chunk, filters)


def plain_type(h5py: Any, stored: Any) -> np.dtype | None:
    """Return the type of stored values that are numbers of NumPy's types or texts; None for any others.

    The type of texts of variable length is that of objects.
    """
    kind = stored.get_class()
    if kind == h5py.h5t.STRING:
        return np.dtype(object if stored.is_variable_str() else f"S{stored.get_size()}")
    if kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        return None
    letter = "f" if kind == h5py.h5t.FLOAT else "u" if stored.get_sign() == h5py.h5t.SGN_NONE else "i"
    order = ">" if stored.get_order() == h5py.h5t.ORDER_BE else "<"
    if stored.get_size() not in ((2, 4, 8) if letter == "f" else (1, 2, 4, 8)):
        return None
    dtype = np.dtype(f"{order}{letter}{stored.get_size()}")
    return dtype if h5py.h5t.py_create(dtype) == stored else None


def read_attributes(dataset: Dataset, at_most: int) -> Iterator[tuple[str, float | tuple[str, ...]]]:
    """Yield the names and values of a dataset's attributes that are one number, or texts of a fixed length.

    Other attributes, and those of more than `at_most` bytes, are left out.
    """
    from h5py import h5a

    for index in range(min(h5a.get_num_attrs(dataset.id), MAX_ATTRIBUTES)):
        attribute = h5a.open(dataset.id, index=index)
        if (fact := _fact(attribute, at_most)) is not None:
            yield attribute.name.decode("utf-8", "replace"), fact


def _fact(attribute: Any, at_most: int) -> float | tuple[str, ...] | None:
    import h5py

    dtype, shape = plain_type(h5py, attribute.get_type()), attribute.shape
    if dtype is None or dtype.kind == "O" or shape is None or math.prod(shape) * dtype.itemsize > at_most:
        return None
    values = np.empty(shape, dtype)
    if not values.size or (dtype.kind != "S" and values.size != 1):
        return None
    attribute.read(values, attribute.get_type())
    if dtype.kind != "S":
        return float(values.item())
    return tuple([value.decode("utf-8", "replace").strip() for value in values.ravel().tolist()])
