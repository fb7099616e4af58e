"""From ECG files to clean arrays. NumPy, SciPy and pandas only: nothing here knows of torch."""

from data_prep.preprocess import Prepared, Preprocess
from data_prep.readers import ReadOptions, find_records, read_record
from data_prep.record import Record, RecordError

__all__ = ["Prepared", "Preprocess", "ReadOptions", "Record", "RecordError", "find_records", "read_record"]
