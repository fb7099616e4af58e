"""Samples of a WFDB record as whole numbers, and their verification against its header."""

import math
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Integer

from data_prep.leads import describe_lead
from data_prep.readers.files import refuse_outside_link, refuse_pointer, regular_size, require_sane_size
from data_prep.readers.wfdb.formats import DIFFERENCES, FORMATS
from data_prep.readers.wfdb.header import Header, Signal
from data_prep.record import RecordError, Remark

if TYPE_CHECKING:
    import soundfile

NO_CHECKSUM = Remark("no-checksum", "no checksum in the header: damage to the samples would go unnoticed.")
UNVERIFIED = Remark(
    "unverified",
    "the checksums in its header were not compared, because only the beginning of the recording was read.",
)
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
"""Unicode forms of a file's name: accents composed with their letters, or after them."""
ALIGNED = 12
"""Number of frames that fill whole bytes, and whole blocks, in every format."""
A_BLOCK = 2**16
"""Number of frames of a compressed file that are decoded at a time."""


def count_frames(path: Path, header: Header, follow_links: bool) -> int:
    """Return the number of frames in the record whose header lies at `path`.

    Raises:
        RecordError: a file does not hold exactly as many frames as the header promises, or cannot be read.
    """
    n_frames = header.n_samples
    for name, signals in _by_file(header).items():
        first = signals[0][1]
        if any((signal.format, signal.offset) != (first.format, first.offset) for _, signal in signals):
            raise RecordError(f"{path.name}: {_numbers(signals)} lie in one file, but differ in format or offset.")
        width = sum(signal.per_frame for _, signal in signals)
        if width == 0:
            raise RecordError(f"{path.name}: {_numbers(signals)} have no samples.")
        samples = find_samples(path, name)
        if not os.path.lexists(samples):
            raise RecordError(_missing(path, samples, _numbers(signals)))
        size = regular_size(samples)
        if not follow_links:
            refuse_outside_link(samples, path)
        if FORMATS[first.format].decode is None:
            n_frames = _count_compressed(path, samples, [signal for _, signal in signals], n_frames)
        else:
            bits = FORMATS[first.format].bits * width
            if n_frames is None:
                n_frames = max(size - first.offset, 0) * 8 // math.ceil(bits)
            promised = first.offset + math.ceil(n_frames * bits / 8 - 1e-6)
            _check_size(samples, path, (size, promised, FORMATS[first.format].block), n_frames, len(signals))
        require_sane_size(path.name, n_frames, width)
    if not n_frames:
        raise RecordError(f"{path.name} has no samples.")
    return n_frames


def _by_file(header: Header) -> dict[str, list[tuple[int, Signal]]]:
    """Return the signals of each file with their indices in the header."""
    files: dict[str, list[tuple[int, Signal]]] = {}
    for index, signal in enumerate(header.signals):
        files.setdefault(signal.file, []).append((index, signal))
    return files


def find_samples(path: Path, name: str) -> Path:
    """Return the file of this name beside the header at `path`, with its accents composed or decomposed."""
    samples = path.parent / name
    if not name.isascii() and not samples.exists():
        others = (path.parent / unicodedata.normalize(form, name) for form in FORMS)
        return next((other for other in others if other.exists()), samples)
    return samples


def _numbers(signals: list[tuple[int, Signal]]) -> str:
    """Return `signal 3` or `signals 1 to 12`, in the numbering of the header."""
    first, last = signals[0][0] + 1, signals[-1][0] + 1
    return f"signal {first}" if first == last else f"signals {first} to {last}"


def _missing(path: Path, samples: Path, numbers: str) -> str:
    """Return the message for a missing file of samples, with a file that could be meant.

    The name is not quoted: a record that was renamed to remove a patient's name may still have it in its header.
    """
    reason = f"{path.name}: the file that it names for the samples of {numbers} is not there"
    others = (path.with_suffix(suffix) for suffix in dict.fromkeys((samples.suffix, ".dat", ".mat")))
    beside = next((other for other in others if other.suffix and other != path and other.exists()), None)
    if beside is None:
        return f"{reason}; put it beside the header."
    return f"{reason}, while {beside.name} is; if that holds them, write its name into {path.name}."


def _check_size(samples: Path, path: Path, sizes: tuple[int, int, int], n_frames: int, n_leads: int) -> None:
    size, promised, block = sizes
    if promised <= size <= promised + (block if block > 1 else 0):
        return
    with samples.open("rb") as stream:
        refuse_pointer(samples.name, stream.read(64))
    sizes_differ = f"{samples.name} holds {size} bytes, the header {path.name} promises {promised}"
    content = f"({n_frames} samples of {n_leads} leads)"
    if size < promised:
        raise RecordError(
            f"{sizes_differ} {content}: the file is cut off, or the header claims too much; copy both again."
        )
    raise RecordError(f"{sizes_differ} {content}: the file is too long; copy both again.")


def _count_compressed(path: Path, samples: Path, signals: list[Signal], n_frames: int | None) -> int:
    with _open_compressed(samples, signals) as flac:
        n_samples = flac.frames - signals[0].offset
    per_frame = signals[0].per_frame
    if n_frames is not None and n_samples != n_frames * per_frame:
        raise RecordError(
            f"{samples.name} holds {n_samples} samples per lead, the header {path.name} promises "
            f"{n_frames * per_frame}: one of them is damaged or belongs to another record. Copy both again."
        )
    return max(n_samples, 0) // per_frame


@contextmanager
def _open_compressed(samples: Path, signals: list[Signal]) -> "Iterator[soundfile.SoundFile]":
    """Open a FLAC file with these signals as its channels. Raise RecordError for whatever is wrong with it."""
    import soundfile

    most = FORMATS[signals[0].format].bits
    try:
        with samples.open("rb") as stream, soundfile.SoundFile(stream) as flac:
            bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}.get(flac.subtype, math.inf)
            if flac.format != "FLAC" or bits > most or flac.channels != len(signals):
                raise RecordError(
                    f"{samples.name} holds {flac.channels} channels of {flac.format} {flac.subtype}; format "
                    f"{signals[0].format} with {len(signals)} leads is FLAC of at most {most} bits."
                )
            yield flac
    except soundfile.SoundFileError as error:
        raise RecordError(f"{samples.name} cannot be decoded as FLAC; copy it again.") from error


def is_seekable(header: Header) -> bool:
    """Return whether samples can be read from any frame on, without those before it."""
    return all(FORMATS[s.format].decode is not None and s.format != DIFFERENCES for s in header.signals)


def read_samples(path: Path, header: Header, n_frames: int, first: int = 0) -> Integer[np.ndarray, "time signal"]:
    """Return `n_frames` of all signals, from the frame `first` on. The files must have passed `count_frames`.

    A `first` above 0 is a multiple of ALIGNED, of a record that `is_seekable`.
    """
    rates = {signal.per_frame for signal in header.signals}
    if len(rates) > 1:
        raise RecordError(f"{path.name}: its signals have different sampling rates; write them at one rate.")
    parts = []
    order: list[int] = []
    for name, signals in _by_file(header).items():
        order += [index for index, _ in signals]
        parts.append(_read_file(find_samples(path, name), [signal for _, signal in signals], n_frames, first))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, axis=1)[:, np.argsort(order)]


def _read_file(samples: Path, signals: list[Signal], n_frames: int, first: int) -> Integer[np.ndarray, "time signal"]:
    kind, per_frame, n_signals = signals[0].format, signals[0].per_frame, len(signals)
    decode = FORMATS[kind].decode
    if decode is None:
        return _read_compressed(samples, signals, n_frames * per_frame)
    n_values = n_frames * per_frame * n_signals
    n_bytes = math.ceil(n_values * FORMATS[kind].bits / 8 - 1e-6)
    with samples.open("rb") as stream:
        stream.seek(signals[0].offset + round(first * per_frame * n_signals * FORMATS[kind].bits / 8))
        content = stream.read(n_bytes)
    if len(content) != n_bytes:
        raise RecordError(f"{samples.name} changed while it was read.")
    values = decode(content)[:n_values]
    if per_frame > 1:  # each frame holds all samples of one signal before those of the next
        values = values.reshape(n_frames, n_signals, per_frame).swapaxes(1, 2)
    values = values.reshape(n_frames * per_frame, n_signals)
    if kind == DIFFERENCES:
        return values.cumsum(axis=0, dtype=np.int32) + np.array([signal.initial or 0 for signal in signals], np.int64)
    return values


def _read_compressed(samples: Path, signals: list[Signal], n_samples: int) -> Integer[np.ndarray, "time signal"]:
    with _open_compressed(samples, signals) as flac:
        flac.seek(signals[0].offset)
        blocks = list(flac.blocks(A_BLOCK, frames=n_samples, dtype="int32", always_2d=True))
        shift = {"PCM_S8": 24, "PCM_16": 16, "PCM_24": 8}[flac.subtype]  # soundfile widens samples to 32 bits
    values = np.concatenate(blocks) >> shift if blocks else np.empty((0, len(signals)), np.int32)
    if len(values) != n_samples:
        raise RecordError(f"{samples.name} holds {len(values)} of {n_samples} samples; it is damaged, copy it again.")
    return values


def verify_samples(
    name: str, digital: Integer[np.ndarray, "time signal"], header: Header, whole: bool
) -> Remark | None:
    """Compare first samples and checksums with the header's.

    Checksums cover the whole recording and are compared only where `digital` is all of it. Return a remark where they
    are not compared, or where the header has none.

    Raises:
        RecordError: they differ.
    """
    return verify_sums(name, digital[0].tolist(), digital.sum(axis=0, dtype=np.int64), header, whole)


def verify_sums(
    name: str, first: list[int], sums_of_all: Integer[np.ndarray, " signal"], header: Header, whole: bool
) -> Remark | None:
    """Compare first samples and sums with the header's, as `verify_samples` does."""
    signals = header.signals
    sums = (sums_of_all & 0xFFFF).tolist()
    zeros = len(signals) > 1 and not any(signal.checksum for signal in signals) and any(sums)  # some writers leave 0
    for number, (signal, begins, total) in enumerate(zip(signals, first, sums, strict=True), 1):
        initial, checksum = signal.initial, signal.checksum
        if signal.format != DIFFERENCES and initial is not None and initial != begins and not (zeros and initial == 0):
            raise RecordError(
                f"{name}: {describe_lead(signal.lead, number, 'signal')} begins with {begins}, its header says "
                f"{initial}; {signal.file} or the header is damaged or belongs to another record. Copy both again."
            )
        if whole and checksum is not None and checksum & 0xFFFF != total and not zeros:
            raise RecordError(
                f"{name}: the checksum of {describe_lead(signal.lead, number, 'signal')} is {total}, its header says "
                f"{checksum & 0xFFFF}; {signal.file} or the header is damaged. Copy both again."
            )
    if zeros or any(signal.checksum is None for signal in signals):
        return NO_CHECKSUM
    return None if whole else UNVERIFIED
