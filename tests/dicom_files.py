"""DICOM waveform files, written with pydicom."""

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

from data_prep.leads import LEAD_CODES, STANDARD_LEADS

CODES = {lead: f"2:{number}" for number, lead in LEAD_CODES.items()}


def sequence_item(**fields):
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def channel(lead, unit="uV", sensitivity=2.5, scheme="MDC", meaning=None, baseline=0):
    code = sequence_item(
        CodeValue=CODES.get(lead, "2:99"), CodingSchemeDesignator=scheme, CodeMeaning=meaning or f"Lead {lead}"
    )
    item = sequence_item(ChannelSourceSequence=[code], ChannelBaseline=baseline, WaveformBitsStored=16)
    if sensitivity is not None:
        item.ChannelSensitivity, item.ChannelSensitivityCorrectionFactor = sensitivity, 1
    if unit is not None:
        item.ChannelSensitivityUnitsSequence = [sequence_item(CodeValue=unit, CodingSchemeDesignator="UCUM")]
    return item


def group(samples, channels, fs=500.0, originality="ORIGINAL", padding=None):
    """A multiplex group of int16 samples, (time, channel)."""
    item = sequence_item(
        WaveformOriginality=originality,
        NumberOfWaveformChannels=len(channels),
        NumberOfWaveformSamples=len(samples),
        SamplingFrequency=fs,
        ChannelDefinitionSequence=channels,
        WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS",
        WaveformData=np.ascontiguousarray(samples, "<i2").tobytes(),
    )
    if padding is not None:
        item.WaveformPaddingValue = int(padding).to_bytes(2, "little", signed=True)
    return item


def write_dicom(path, *groups):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.PatientName = "Doe^Jane"
    if groups:
        file.WaveformSequence = list(groups)
    file.save_as(path)
    return path


def channels(**options):
    return [channel(lead, **options) for lead in STANDARD_LEADS]
