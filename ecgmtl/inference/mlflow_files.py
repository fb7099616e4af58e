"""MLflow model that takes ECG files or arrays. MLflow imports this module by its name, so the model holds no code."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.leads import STANDARD_LEADS
from data_prep.record import Record
from ecgmtl.inference.onnx_predictor import MLFLOW_ONNX, OnnxPredictor
from ecgmtl.inference.options import BATCH
from ecgmtl.inference.predict import predict_batch
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.inference.table import columns, row_of, with_codes

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "ecg"
"""Column of the input: the path of a file, or an array of 12 leads in mV at the model's sampling rate."""


class FilesModel:
    """Classifier that reads ECG files, with the checks of `ecgmtl predict`."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Return the row that `ecgmtl predict` writes for each ECG of the column `ecg`, in the same order.

        Empty cells are None, which becomes null in the JSON of a served model. NaN would not be valid there.
        """
        import pandas as pd

        ecgs = [self.ecg_of(index, value) for index, value in enumerate(table[COLUMN])]
        rows = [with_codes(row_of(result)) for result in self.results(ecgs)]
        results = pd.DataFrame(rows, columns=columns(self.predictor.metadata.label_names)).astype(object)
        return results.where(results.notna(), None)

    def results(self, ecgs: list[Path | Record]) -> Iterator[Prediction | Failure]:
        """Yield a result for each ECG."""
        for first in range(0, len(ecgs), BATCH):
            yield from predict_batch(self.predictor, ecgs[first : first + BATCH])

    def ecg_of(self, index: int, value: Any) -> Path | Record:
        """Return the path or the record of a cell.

        Raises:
            ValueError: it is neither a text nor an array of 12 leads.
        """
        if isinstance(value, str):
            return Path(value)
        signal = np.array([np.asarray(lead, np.float32) for lead in value], np.float32)
        if signal.ndim != 2 or len(signal) != len(STANDARD_LEADS):
            raise ValueError(f"row {index}: an ECG is a path, or an array of 12 leads; found the shape {signal.shape}.")
        fs = float(self.predictor.metadata.preprocess.fs)
        return Record(f"row {index}", np.ascontiguousarray(signal.T), fs, STANDARD_LEADS)


def _load_pyfunc(path: str) -> FilesModel:
    """Load the model, as MLflow asks of a module."""
    file = Path(path)
    return FilesModel(OnnxPredictor(file / MLFLOW_ONNX if file.is_dir() else file))
