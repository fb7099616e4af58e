"""Readers, one module for each format.

`formats` lists them, `find` finds the records of a folder, and `read` reads one. What other packages use is here.
"""

from data_prep.readers.find import find_files, find_record, find_records
from data_prep.readers.formats import FORMATS, READERS, files_of, format_names, is_ecg
from data_prep.readers.options import ReadOptions
from data_prep.readers.other_files import OtherFile, summarize
from data_prep.readers.read import (
    holds_ecg,
    local_copy,
    open_recording,
    open_stack,
    rate_remarks,
    read_record,
    with_possible_rate,
)
from data_prep.readers.stack import Stack

__all__ = [
    "FORMATS",
    "READERS",
    "OtherFile",
    "ReadOptions",
    "Stack",
    "files_of",
    "find_files",
    "find_record",
    "find_records",
    "format_names",
    "holds_ecg",
    "is_ecg",
    "local_copy",
    "open_recording",
    "open_stack",
    "rate_remarks",
    "read_record",
    "summarize",
    "with_possible_rate",
]
