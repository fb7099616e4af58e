"""Reading and preprocessing of ECG files with NumPy, SciPy and pandas. Nothing here imports torch.

The names below are imported when they are first used, so that `import data_prep` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.preprocess import Prepared, Preprocess
    from data_prep.readers import ReadOptions, find_records, read_record
    from data_prep.record import Record, RecordError

__all__ = ["Prepared", "Preprocess", "ReadOptions", "Record", "RecordError", "find_records", "read_record"]

MODULES = {
    "Prepared": "preprocess",
    "Preprocess": "preprocess",
    "ReadOptions": "readers",
    "find_records": "readers",
    "read_record": "readers",
    "Record": "record",
    "RecordError": "record",
}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
