"""EDF and BDF files, written with pyEDFlib."""

import numpy as np
import pyedflib

from data_prep.leads import STANDARD_LEADS


def write_edf(path, digital, labels=STANDARD_LEADS, unit="uV", rates=(500,), limit=4000.0):
    """A file of digital samples from -32768 to 32767, (time, signal), that mean -limit to limit."""
    kind = pyedflib.FILETYPE_EDFPLUS if path.suffix == ".edf" else pyedflib.FILETYPE_BDFPLUS
    with pyedflib.EdfWriter(str(path), len(labels), kind) as file:
        for i, label in enumerate(labels):
            fs = rates[i % len(rates)]
            header = {"label": label, "dimension": unit, "sample_frequency": fs, "transducer": "", "prefilter": ""}
            ends = {"physical_min": -limit, "physical_max": limit, "digital_min": -32768, "digital_max": 32767}
            file.setSignalHeader(i, header | ends)
        file.writeSamples([np.ascontiguousarray(column, np.int32) for column in digital.T], digital=True)
    return path
