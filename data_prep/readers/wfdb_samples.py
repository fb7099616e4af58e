"""The samples of a WFDB record, as whole numbers, and whether they are those that its header was written for."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from data_prep.readers.files import refuse_outside_link, regular_size, require_sane_size
from data_prep.readers.wfdb_header import BITS, Header, Signal
from data_prep.record import RecordError

INVALID = {
    **dict.fromkeys((16, 61, 160), -(2**15)),
    **dict.fromkeys((310, 311), -(2**9)),
    80: -(2**7),
    212: -(2**11),
    24: -(2**23),
    32: -(2**31),
}
"""The value that stands for a missing sample in each format."""
RAW = {16: "<i2", 61: ">i2"}
"""Formats that lie in the file as NumPy can take them."""
NO_CHECKSUM = "no checksum in the header: damage to the samples would go unnoticed."


def read_samples(path: Path, header: Header) -> Integer[np.ndarray, "time signal"]:
    """All signals of the record whose header lies at `path`; sizes are checked before anything is read."""
    n_frames = _check_files(path, header)
    first = header.signals[0]
    alike = (first.file, first.format, 1, first.offset)
    if first.format in RAW and all(
        (signal.file, signal.format, signal.per_frame, signal.offset) == alike for signal in header.signals
    ):
        content = (path.parent / first.file).read_bytes()
        if len(content) == first.offset + 2 * n_frames * len(header.signals):
            return np.frombuffer(content, RAW[first.format], offset=first.offset).reshape(n_frames, len(header.signals))
        raise RecordError(f"{first.file} changed while it was read.")
    return _read_with_wfdb(path, header, n_frames)


def _check_files(path: Path, header: Header) -> int:
    """Frames in the record; each of its files holds exactly as many, or RecordError says which one does not."""
    files: dict[str, list[Signal]] = {}
    for signal in header.signals:
        files.setdefault(signal.file, []).append(signal)
    n_frames = header.n_samples
    for name, signals in files.items():
        place = path.parent / name
        size = regular_size(place, f"it holds the samples of {path.name}, but is not there")
        refuse_outside_link(place, path)
        bits = sum(BITS[signal.format] * signal.per_frame for signal in signals)
        offset = signals[0].offset
        if bits == 0:
            raise RecordError(f"{path.name}: the signals in {name} have no samples.")
        if n_frames is None:
            n_frames = max(size - offset, 0) * 8 // math.ceil(bits)
        _check_size(path, name, size, offset + math.ceil(n_frames * bits / 8 - 1e-6), n_frames, signals)
        require_sane_size(path.name, n_frames, sum(signal.per_frame for signal in signals))
    if not n_frames:
        raise RecordError(f"{path.name} has no samples.")
    return n_frames


def _check_size(path: Path, name: str, size: int, promised: int, n_frames: int, signals: list[Signal]) -> None:
    padding = 0 if signals[0].format in (16, 61, 160, 80, 24, 32) else 3
    if promised <= size <= promised + padding:
        return
    found = f"{name} holds {size} bytes, the header {path.name} promises {promised}"
    content = f"({n_frames} samples of {len(signals)} leads)"
    if size < promised:
        raise RecordError(f"{found} {content}: the file is cut off, or the header claims too much; copy both again.")
    raise RecordError(f"{found} {content}: the file is too long; copy both again.")


def _read_with_wfdb(path: Path, header: Header, n_frames: int) -> Integer[np.ndarray, "time signal"]:
    import wfdb

    rates = {signal.per_frame for signal in header.signals}
    if len(rates) > 1:
        raise RecordError(f"{path.name}: its signals have different sampling rates; write them at one rate.")
    try:
        found = wfdb.rdrecord(str(path.absolute().with_suffix("")), physical=False, smooth_frames=False, return_res=64)
        digital = np.stack(found.e_d_signal, axis=1).astype(np.int64, copy=False)
    except Exception as error:  # whatever a damaged file makes wfdb raise
        what = f"{type(error).__name__}: {error}".strip()[:200]
        raise RecordError(f"{path.name}: wfdb cannot read this record ({what}).") from error
    read = [(str(kind), name) for kind, name in zip(found.fmt, found.file_name, strict=True)]
    if read != [(str(signal.format), signal.file) for signal in header.signals]:
        raise RecordError(f"{path.name}: wfdb reads other formats or files than the header names; it is damaged.")
    if digital.shape != (n_frames * rates.pop(), len(header.signals)):
        raise RecordError(f"{path.name}: wfdb read {digital.shape[0]} samples, {n_frames} are promised.")
    return digital


def verify_samples(name: str, digital: Integer[np.ndarray, "time signal"], header: Header) -> tuple[str, ...]:
    """Compare first samples and checksums with the header's: RecordError where they differ, a warning without them."""
    signals = header.signals
    sums = (digital.sum(axis=0, dtype=np.int64) & 0xFFFF).tolist()
    zeros = len(signals) > 1 and not any(signal.checksum for signal in signals) and any(sums)  # some writers leave 0
    for signal, begins, total in zip(signals, digital[0].tolist(), sums, strict=True):
        initial, checksum = signal.initial, signal.checksum
        if initial is not None and initial != begins and not (zeros and initial == 0):
            raise RecordError(
                f"{name}: lead {signal.lead} begins with {begins}, its header says {initial}; "
                f"{signal.file} or the header is damaged or belongs to another record. Copy both again."
            )
        if checksum is not None and checksum & 0xFFFF != total and not zeros:
            raise RecordError(
                f"{name}: the checksum of lead {signal.lead} is {total}, its header says {checksum & 0xFFFF}; "
                f"{signal.file} or the header is damaged. Copy both again."
            )
    if zeros or any(signal.checksum is None for signal in signals):
        return (NO_CHECKSUM,)
    return ()
