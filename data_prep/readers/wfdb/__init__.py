"""WFDB records (.hea with .dat or .mat): PhysioNet's format, and PTB-XL's.

Headers and samples are read here in about a twentieth of the time that the `wfdb` package takes, and only as far as
they are used. The package compares neither lengths nor checksums.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.leads import describe_leads
from data_prep.readers.files import read_head, refuse_outside_link
from data_prep.readers.options import WHOLE, ReadOptions
from data_prep.readers.wfdb.header import NO_FILE, Header, Segment
from data_prep.readers.wfdb.samples import count_frames
from data_prep.readers.wfdb.segment import name_leads, read_header, read_segment, voltage_indices
from data_prep.record import Record, RecordError

FIRST_LINE = 512
"""Number of bytes that hold the first line of a header, which says whether it joins segments."""
NAME = "WFDB"
SUFFIXES: tuple[str, ...] = (".hea", ".dat", ".mat")


def recognizes(head: bytes) -> bool:  # noqa: ARG001, a format's function
    """Return False: headers and samples find each other by their names, so the suffix decides."""
    return False


def read(path: Path, options: ReadOptions) -> Record:
    """Return the record of this header, or of the header beside this .dat or .mat file."""
    if path.suffix.lower() != ".hea":
        path = path.with_suffix(".hea")
    header = read_header(path, "there is no such header; a WFDB record needs one beside its samples")
    if header.segments:
        return _join(path, header, options)
    if header.is_layout:
        raise RecordError(f"{path.name} only lists the signals of a joined record; pass the header that joins it.")
    n_frames, per_frame = count_frames(path, header, options.follow_links), header.signals[0].per_frame
    n_samples = options.samples_to_read(n_frames * per_frame, header.fs * per_frame)
    return read_segment(path, header, options, n_frames, -(-n_samples // per_frame))


def joined_by(path: str | Path) -> tuple[str, ...]:
    """Return the file names of the headers that the header at `path` joins; none if it cannot be read."""
    try:
        with open(path, "rb") as stream:  # noqa: PTH123, half the time
            first_line = stream.read(FIRST_LINE).lstrip().split(b"\n", 1)[0]
        if b"/" not in first_line and not first_line.startswith(b"#"):
            return ()
        header = read_header(Path(path))
    except (OSError, RecordError):
        return ()
    return tuple(f"{segment.name}.hea" for segment in header.segments if segment.name != NO_FILE)


def names_beside(path: Path) -> tuple[str, ...]:
    """Return the names of the files beside a header that it needs: samples, or headers of segments. Some may not exist.

    They are none if the header cannot be read.
    """
    try:
        header = read_header(path)
    except RecordError:
        return ()
    names = [*(signal.file for signal in header.signals), *(f"{segment.name}.hea" for segment in header.segments)]
    return tuple(name for name in dict.fromkeys(names) if name not in (NO_FILE, f"{NO_FILE}.hea"))


def files_of(path: Path) -> frozenset[Path]:
    """Return the files that the record of this header is read from, as far as they exist: samples and segments too."""
    named = _named_in(path)
    return frozenset({path, *named, *(name for file in named - {path} for name in _named_in(file))})


def _named_in(path: Path) -> frozenset[Path]:
    """Return the files beside a header that its lines name, with or without the suffix of headers."""
    if path.suffix.lower() != ".hea":
        return frozenset()
    words = {os.fsdecode(line.split()[0]) for line in read_head(path).splitlines() if line.strip()}
    names = (name for word in words if "/" not in word for name in (word, f"{word}.hea"))
    return frozenset(path.parent / name for name in names if os.path.isfile(path.parent / name))  # noqa: PTH113


def _join(path: Path, header: Header, options: ReadOptions) -> Record:
    """Return the record that a header joins from segments, with NaN where nothing was recorded."""
    total = sum(segment.n_samples for segment in header.segments)
    n_frames = options.samples_to_read(total, header.fs)
    pieces = _read_pieces(path, header, options, n_frames)
    if not pieces:
        raise RecordError(f"{path.name}: nothing was recorded in its first {n_frames / header.fs:g} s.")
    leads = _layout(path, header, options) or pieces[0][1].leads
    fs = pieces[0][1].fs
    per_frame = round(fs / header.fs)
    signal = np.full((len(leads), n_frames * per_frame), np.nan, np.float32)
    for first, piece in pieces:
        if piece.fs != fs or not set(piece.leads) <= set(leads) or len(set(piece.leads)) < len(piece.leads):
            raise RecordError(
                f"{path.name}: segment {piece.name} has leads {describe_leads(piece.leads)} at {piece.fs:g} Hz, the "
                f"record {describe_leads(leads)} at {fs:g} Hz; pass the segments one by one."
            )
        rows = [leads.index(lead) for lead in piece.leads]
        signal[rows, first * per_frame : first * per_frame + len(piece.signal)] = piece.signal.T
    return Record(
        path.stem,
        signal.T,
        fs,
        leads,
        tuple(dict.fromkeys(remark for _, piece in pieces for remark in piece.remarks)),
        calibrated=all(piece.calibrated for _, piece in pieces),
        total_seconds=total / header.fs if n_frames < total else None,
        unit=pieces[0][1].unit,
    )


def _layout(path: Path, header: Header, options: ReadOptions) -> tuple[str, ...]:
    """Return the leads that a record's segments may have, or nothing if all segments must have the same leads."""
    if header.segments[0].n_samples:
        return ()
    layout_path = _segment_path(path, 1, header.segments[0])
    layout = read_header(layout_path)
    if layout.segments:
        raise RecordError(f"{layout_path.name} joins segments itself, which {path.name} must not join again.")
    layout = name_leads(layout_path.name, layout, options)
    return tuple(layout.signals[index].lead for index in voltage_indices(layout_path.name, layout, options)[0])


def _segment_path(path: Path, number: int, segment: Segment) -> Path:
    """Return the header of a segment of the record at `path`. Its name is quoted only if such a file is there."""
    header_path = path.with_name(f"{segment.name}.hea")
    if not os.path.lexists(header_path):
        raise RecordError(f"{path.name}: the header of its segment {number} is not there; put it beside this one.")
    return header_path


def _read_pieces(path: Path, header: Header, options: ReadOptions, n_frames: int) -> list[tuple[int, Record]]:
    """Read the segments in the first `n_frames`, each with the frame at which it begins."""
    pieces: list[tuple[int, Record]] = []
    first = 0
    for number, segment in enumerate(header.segments, 1):
        if first < n_frames and segment.n_samples and segment.name != NO_FILE:
            piece_path = _segment_path(path, number, segment)
            pieces.append((first, _read_piece(path, piece_path, header.fs, segment, options, n_frames - first)))
        first += segment.n_samples
    return pieces


def _read_piece(
    path: Path, piece_path: Path, fs: float, segment: Segment, options: ReadOptions, n_wanted: int
) -> Record:
    """Read at most `n_wanted` frames of a segment of the record at `path`."""
    if not options.follow_links:
        refuse_outside_link(piece_path, path)
    header = read_header(piece_path)
    if header.segments or header.is_layout:
        raise RecordError(f"{piece_path.name} holds no samples itself, so {path.name} cannot join it.")
    n_frames = count_frames(piece_path, header, options.follow_links)
    if (n_frames, header.fs) != (segment.n_samples, fs):
        raise RecordError(
            f"{piece_path.name} holds {n_frames} samples at {header.fs:g} Hz, {path.name} promises {segment.n_samples} "
            f"at {fs:g} Hz: one of them is damaged or belongs to another record."
        )
    n_wanted = min(n_wanted, n_frames)
    record = read_segment(piece_path, header, options, n_frames, n_frames if n_frames <= WHOLE else n_wanted)
    return replace(record, signal=record.signal[: n_wanted * header.signals[0].per_frame])
