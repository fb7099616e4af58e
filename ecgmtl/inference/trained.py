"""A trained model as a notebook or a script uses it: `ecgmtl.load()`, then `predict` and `reconstruct`."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_prep.lead_set import LeadSet
from data_prep.readers import OtherFile, ReadOptions, find_records, read_record, summarize
from data_prep.record import Record, RecordError
from ecgmtl.inference.models import BUNDLED
from ecgmtl.inference.predict import BATCH, Failure, Prediction, predict, predict_records
from ecgmtl.inference.predictor import Predictor, load_predictor
from ecgmtl.inference.table import columns, row_of, with_codes
from ecgmtl.inference.windows import Window

if TYPE_CHECKING:
    import pandas as pd

ECG = str | Path | Record
"""A path, as `ecgmtl predict` takes it, or a record that was read."""


def read(
    path: str | Path, *, fs: float | None = None, unit: str | None = None, leads: Iterable[str] | None = None
) -> Record:
    """Read one ECG: a file of any format, or the name of a WFDB record.

    `fs` (hertz), `unit` and `leads` state what the file does not, as the options of `ecgmtl predict` do.

    Raises:
        RecordError: the file cannot be read as an ECG, or `path` is a folder of several.
        ValueError: an option is impossible.
    """
    options = ReadOptions(fs=fs, unit=unit, leads=None if leads is None else tuple(leads))
    files = list(islice(find_records([path]), 2))
    if len(files) != 1:
        raise RecordError(f"{path}: should be one record; found {'more than one' if files else 'none'}.")
    return read_record(files[0], options)


def load(name: str | Path = BUNDLED) -> "TrainedModel":
    """Load a model as `ecgmtl predict` does, by its path, its MLflow URI or its name; by default the bundled model.

    Raises:
        ModelNameError, PredictorError, CheckpointError, MetadataError: there is no such model, or it is damaged.
    """
    return TrainedModel(str(name), load_predictor(name))


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """A model that `load` returned."""

    name: str
    predictor: Predictor

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the order of the model's outputs."""
        return self.predictor.metadata.label_names

    @property
    def card(self) -> str:
        """Model card in Markdown: data, scores, intended use and limits. Empty where the model has none."""
        return self.predictor.metadata.card

    def __repr__(self) -> str:
        score = self.predictor.metadata.score
        return f"<{self.name}: {', '.join(self.label_names)}{f'; {score}' if score else ''}>"

    def predict(
        self,
        ecgs: ECG | Iterable[ECG],
        *,
        window: Literal["first", "best", "all"] = "first",
        batch_size: int = BATCH,
    ) -> "pd.DataFrame":
        """Predict for files, folders, patterns and records, and return the table that `ecgmtl predict` writes.

        It has a row for each record, in the order given. A record that cannot be predicted has the status `failed` and
        the reason in `message`. Of a recording longer than the model's input the first or the best `window` is
        predicted, or the mean over all. A warning counts the files of folders that are no ECGs.
        """
        import pandas as pd

        given = [ecgs] if isinstance(ecgs, str | Path | Record) else list(ecgs)
        results = list(self._results(given, batch_size, Window(window)))
        for line in summarize([result for result in results if isinstance(result, OtherFile)]):
            warnings.warn(line, stacklevel=2)
        rows = [with_codes(row_of(result)) for result in results if not isinstance(result, OtherFile)]
        return pd.DataFrame(rows, columns=columns(self.label_names))

    def _results(self, given: list[ECG], batch_size: int, window: Window) -> Iterator[Prediction | Failure | OtherFile]:
        for are_records, group in groupby(given, key=lambda ecg: isinstance(ecg, Record)):
            if are_records:
                records = (ecg for ecg in group if isinstance(ecg, Record))
                yield from predict_records(self.predictor, records, batch_size, window)
            else:
                paths = (ecg for ecg in group if not isinstance(ecg, Record))
                yield from predict(self.predictor, paths, batch_size=batch_size, window=window)

    def reconstruct(self, ecg: ECG, from_leads: str | Iterable[str]) -> Record:
        """Reconstruct the leads that are not in `from_leads`, at the model's sampling rate.

        The given leads are unchanged, derived limb leads exact, and the others are named `V1 reconstructed`.

        Raises:
            ReconstructError: the model has no decoder, as every exported model and the bundled one.
            RecordError: the record lacks a given lead, or is no plausible ECG.
            ValueError: a lead is unknown, or nothing is left to reconstruct.
        """
        from ecgmtl.inference.reconstruct import ReconstructError, reconstruct
        from ecgmtl.inference.torch_predictors import CheckpointPredictor

        if not isinstance(self.predictor, CheckpointPredictor):
            raise ReconstructError(f"{self.name}: has no decoder; load a run, or the checkpoint that it wrote.")
        record = ecg if isinstance(ecg, Record) else read(ecg)
        leads = LeadSet.parse(from_leads if isinstance(from_leads, str) else ",".join(from_leads))
        return reconstruct(self.predictor.stored, record, leads).to_record(record.name)
