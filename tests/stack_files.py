"""Files of many ECGs in one array, written as those who share them do."""

import h5py
import numpy as np

from data_prep.leads import STANDARD_LEADS
from tests.wfdb_files import beats

CODE_LEADS = ("DI", "DII", "DIII", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


def exams(n_exams=5, n_samples=1024, fs=400.0, first=60):
    """ECGs in mV, (record, time, lead), filled up with zeros at both ends as in CODE-15 %."""
    values = np.zeros((n_exams, n_samples, 12), np.float32)
    for index, exam in enumerate(values):
        begin, end = first + index, n_samples - 30 - 2 * index
        exam[begin:end] = beats(end - begin, fs) * (1 + index / 10)
    return values


def pieces(values):
    """Return each ECG of `exams` without the zeros at its ends."""
    return [values[index, 60 + index : values.shape[1] - 30 - 2 * index] for index in range(len(values))]


def write_hdf5(path, values, ids=None, facts=None, **options):
    """A file as of CODE: the array `tracings`, and `exam_id` beside it."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("tracings", data=values, **options)
        dataset.attrs.update(facts or {})
        if ids is not None:
            file["exam_id"] = ids
    return path


FACTS = {"fs": 400, "unit": np.bytes_("mV"), "leads": np.array(STANDARD_LEADS, "S3")}
"""Attributes that state all that a record needs."""
