"""DICOM waveforms (PS3.3 C.10.9, A.34): 12-lead and general ECGs, read by pydicom.

Each multiplex group holds channels of one sampling rate. The original group with the most leads is read, and the
longest of those; averaged beats are derived groups. Values are sample times sensitivity times its correction factor,
plus the baseline, in the units of the sensitivity.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_prep.leads import LEAD_CODES, standard_lead
from data_prep.readers.channels import one_of_several
from data_prep.readers.columns import find_columns, to_millivolts, to_record
from data_prep.readers.files import read_head, regular_size, require_sane_size
from data_prep.readers.options import ReadOptions
from data_prep.record import Record, RecordError, Remark

NAME = "DICOM"
SUFFIXES: tuple[str, ...] = (".dcm",)
LEAD_SCHEMES = frozenset({"MDC", "SCPECG"})
"""Coding schemes of ISO/IEEE 11073-10101 and EN 1064, in which the last number of a code is the lead."""
_BARE = re.compile(rb"\x08\x00[\x05\x08\x12-\x18\x20]\x00(?:[A-Z]{2}.\x00|.\x00{3})[ -~]", re.DOTALL)
"""First element of a data set without preamble: of group 8, with a type or a length below 256, and text."""


def recognizes(head: bytes) -> bool:
    """Return whether a file that begins like this is DICOM, with or without the preamble, which some recorders omit."""
    return head[128:132] == b"DICM" or _BARE.match(head) is not None


def read(path: Path, options: ReadOptions) -> Record:
    """Return the ECG of a DICOM file.

    Raises:
        RecordError: the file holds no waveform, a lead is coded as one and named as another, or a lead's sensitivity,
            unit or sampling rate is missing or contradictory.
    """
    import pydicom  # a quarter of a second, which only its files need to take

    regular_size(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values that we do not use, and patients' names among them
        try:
            file = pydicom.dcmread(path, force=_BARE.match(read_head(path)) is not None)
        except pydicom.errors.InvalidDicomError as error:
            raise RecordError(f"{path.name} is not a DICOM file: its first 132 bytes should end in DICM.") from error
        groups = [_Group(path.name, group) for group in file.get("WaveformSequence") or ()]
        if not groups:
            raise RecordError(f"{path.name} is a DICOM file without a waveform; only ECG waveforms are read.")
        index, best = max(enumerate(groups), key=lambda item: item[1].rank)
        return best.read(file, index, _left_out(groups, best), options)


def _left_out(groups: Sequence["_Group"], best: "_Group") -> tuple[Remark, ...]:
    """Return a remark if there are other groups that hold leads as recorded."""
    n_others = sum(group is not best and group.is_original and bool(group.n_leads) for group in groups)
    return one_of_several(n_others + 1, "recordings")


class _Group:
    """A multiplex group: channels that were sampled at the same times."""

    def __init__(self, name: str, group: Any) -> None:
        self.name, self.group = name, group
        self.channels = list(group.get("ChannelDefinitionSequence") or ())
        self.leads = [lead_name(name, number, channel) for number, channel in enumerate(self.channels, start=1)]
        self.n_leads = len({lead for lead in map(standard_lead, self.leads) if lead is not None})
        self.is_original = str(group.get("WaveformOriginality", "ORIGINAL")).upper() != "DERIVED"
        self.n_samples = int(group.get("NumberOfWaveformSamples") or 0)

    @property
    def rank(self) -> tuple[bool, int, int]:
        return self.is_original, self.n_leads, self.n_samples

    def read(self, file: Any, index: int, left_out: tuple[Remark, ...], options: ReadOptions) -> Record:
        name = self.name
        require_sane_size(name, self.n_samples, len(self.channels))
        units = [_unit_of(channel) for channel in self.channels]
        columns, remarks = find_columns(name, self.leads, units, options)
        fs = float(self.group.get("SamplingFrequency") or 0)
        if not 0 < fs < float("inf"):
            raise RecordError(f"{name}: the sampling frequency should be a number of hertz above 0; found {fs:g}.")
        values = self._values(file, index, options.samples_to_read(self.n_samples, fs))
        signal = to_millivolts(values, columns)
        return to_record(Path(name).stem, signal, fs, columns, (*remarks, *left_out), self.n_samples)

    def _values(self, file: Any, index: int, n_read: int) -> Float64[np.ndarray, "time channel"]:
        """Return the first samples in the units of their channels; those that the file marks as padding are nan."""
        from pydicom.waveforms.numpy_handler import multiplex_array

        raw = multiplex_array(file, index, as_raw=True)
        if raw.shape != (self.n_samples, len(self.channels)):
            expected = f"{self.n_samples} samples of {len(self.channels)} channels"
            raise RecordError(f"{self.name}: {expected} are promised; found {raw.shape[0]} of {raw.shape[1]}.")
        raw = raw[:n_read]
        padding = self.group.get("WaveformPaddingValue")
        values = raw.astype(np.float64)
        if padding is not None:
            number = padding if isinstance(padding, int) else np.frombuffer(padding, raw.dtype)[0]
            is_padding = raw == number
            if number == 0:  # a voltage that every lead passes; only where all channels hold it was nothing recorded
                is_padding &= is_padding.all(axis=1, keepdims=True)
            values[is_padding] = np.nan
        return values * [self._factor(number) for number in range(len(self.channels))] + [
            float(channel.get("ChannelBaseline") or 0) for channel in self.channels
        ]

    def _factor(self, index: int) -> float:
        """Return the size of a step of a channel, in its units."""
        channel = self.channels[index]
        sensitivity = channel.get("ChannelSensitivity")
        if sensitivity is None:
            raise RecordError(f"{self.name} states no sensitivity of channel {index + 1}, so its voltages are unknown.")
        return float(sensitivity) * float(channel.get("ChannelSensitivityCorrectionFactor") or 1)


def lead_name(name: str, number: int, channel: Any) -> str:
    """Return the name of a channel's lead: the coded one where the code is known, or else the one in words.

    Raises:
        RecordError: the code is that of one lead, and the meaning beside it that of another.
    """
    source = (channel.get("ChannelSourceSequence") or [{}])[0]
    words = str(source.get("CodeMeaning") or channel.get("ChannelLabel") or "").partition("(")[0].strip()
    coded = None
    if str(source.get("CodingSchemeDesignator", "")).strip() in LEAD_SCHEMES:
        last = str(source.get("CodeValue", "")).replace("-", ":").rpartition(":")[2]
        coded = LEAD_CODES.get(int(last)) if last.isascii() and last.isdecimal() else None
    spoken = standard_lead(words)
    if coded is not None and spoken is not None and coded != spoken:
        raise RecordError(f"{name}: channel {number} is coded as lead {coded} and named {spoken}; correct the file.")
    return coded or words


def _unit_of(channel: Any) -> str | None:
    """Return the unit of a channel's sensitivity as the file spells it; None where it states none."""
    units = channel.get("ChannelSensitivityUnitsSequence")
    return str(units[0].get("CodeValue", "")) if units else None
