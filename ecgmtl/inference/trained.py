"""A trained model as a notebook or a script uses it: `ecgmtl.load()`, then `predict`, `explain` and `reconstruct`."""

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from data_prep.lead_set import LeadSet
from data_prep.leads import BASIS_LEADS
from data_prep.places import AnyPath
from data_prep.readers import OtherFile, ReadOptions, find_record, read_record, summarize
from data_prep.record import Record
from ecgmtl.inference.arrays import ECG, require_ecg, require_ecgs
from ecgmtl.inference.models import BUNDLED
from ecgmtl.inference.options import BATCH, PredictOptions
from ecgmtl.inference.predict import predict, predict_records
from ecgmtl.inference.predictor import Predictor, load_predictor, without_typicality
from ecgmtl.inference.result import Result
from ecgmtl.inference.table import columns, row_of, with_codes
from ecgmtl.inference.windows import Window

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHADE = "#e0a030"


def read(
    path: AnyPath, *, fs: float | None = None, unit: str | None = None, leads: Iterable[str] | None = None
) -> Record:
    """Read one ECG: a file of any format, or the name of a WFDB record.

    `fs` (hertz), `unit` and `leads` state what the file does not, as the options of `ecgmtl predict` do.

    Raises:
        RecordError: the file cannot be read as an ECG, or `path` is a folder of several.
        ValueError: an option is impossible.
    """
    options = ReadOptions(fs=fs, unit=unit, leads=None if leads is None else tuple(leads))
    return read_record(find_record(path), options)


def load(name: AnyPath = BUNDLED) -> "TrainedModel":
    """Load a model as `ecgmtl predict` does, by its path, its MLflow URI or its name; by default the bundled model.

    Raises:
        ModelNameError, PredictorError, CheckpointError, MetadataError: there is no such model, or it is damaged.
    """
    return TrainedModel(os.fspath(name), load_predictor(name))


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
        warn_ood: bool = True,
    ) -> "pd.DataFrame":
        """Predict for files, folders, patterns and records, and return the table that `ecgmtl predict` writes.

        It has a row for each record, in the order given. A record that cannot be predicted has the status `failed` and
        the reason in `message`. If a recording is longer than the model's input, `window` selects its first or
        best window, or the mean over all. A warning counts the files in folders that are not ECGs. With `warn_ood` no
        decision is made on records that are unlike the training records, as far as the model can tell.

        Raises:
            TypeError: an ECG is neither a path nor a record. `ecgmtl.from_array` makes a record of an array.
            ValueError: there is no such window.
        """
        import pandas as pd

        sources = require_ecgs(ecgs)
        if window not in list(Window):
            raise ValueError(f"window: {window!r} is not one of {', '.join(Window)}.")
        predictor = self.predictor if warn_ood else without_typicality(self.predictor)
        options = PredictOptions(batch_size=batch_size, window=Window(window))
        results = list(predict_each(predictor, sources, options))
        for line in summarize([result for result in results if isinstance(result, OtherFile)]):
            warnings.warn(line, stacklevel=2)
        rows = [with_codes(row_of(result)) for result in results if not isinstance(result, OtherFile)]
        return pd.DataFrame(rows, columns=columns(self.label_names))

    def explain(self, ecg: ECG, label: str | None = None) -> "Explanation":
        """Measure by occlusion which parts of the signal, and which leads, speak for a label or against it.

        Without a `label` it is the one whose probability exceeds its threshold most, or comes nearest to it. It takes
        some 60 forward passes.

        Raises:
            RecordError: the file cannot be read, or is not a plausible ECG.
            ValueError: the model has no such label.
        """
        import pandas as pd

        from ecgmtl.inference.occlusion import occlude

        ecg, metadata = require_ecg(ecg), self.predictor.metadata
        if label is not None and label not in metadata.label_names:
            raise ValueError(f"label {label!r} is not one of {', '.join(metadata.label_names)}.")
        record = ecg if isinstance(ecg, Record) else read(ecg)
        occlusion = occlude(self.predictor, metadata.preprocess(record).signal)
        probabilities = metadata.calibration.probabilities(occlusion.logits[None])[0]
        margins = probabilities - metadata.calibration.thresholds
        index = int(margins.argmax()) if label is None else metadata.label_names.index(label)
        name, slope = metadata.label_names[index], metadata.calibration.slope[index]
        starts = pd.Index([round(step * occlusion.step, 6) for step in range(len(occlusion.time))], name="second")
        time = pd.Series(slope * occlusion.time[:, index].astype(float), starts, name=name)
        leads = pd.Series(
            slope * occlusion.leads[:, index].astype(float), pd.Index(BASIS_LEADS, name="lead"), name=name
        )
        return Explanation(record, name, float(probabilities[index]), time, leads)

    def reconstruct(self, ecg: ECG, from_leads: str | Iterable[str]) -> Record:
        """Reconstruct the leads that are not in `from_leads`, at the model's sampling rate.

        The given leads are unchanged, derived limb leads exact, and the others are named `V1 reconstructed`.

        Raises:
            ReconstructError: the model has no decoder, as every exported model and the bundled one.
            RecordError: the record lacks a given lead, or is not a plausible ECG.
            ValueError: a lead is unknown, or nothing is left to reconstruct.
        """
        from ecgmtl.inference.reconstruct import ReconstructError, reconstruct
        from ecgmtl.inference.torch_predictors import CheckpointPredictor

        if not isinstance(self.predictor, CheckpointPredictor):
            raise ReconstructError(f"{self.name}: has no decoder; load a run, or the checkpoint that it wrote.")
        ecg = require_ecg(ecg)
        record = ecg if isinstance(ecg, Record) else read(ecg)
        leads = LeadSet.parse(from_leads if isinstance(from_leads, str) else ",".join(from_leads))
        return reconstruct(self.predictor.stored, record, leads).to_record(record.name)


def predict_each(predictor: Predictor, ecgs: list[ECG], options: PredictOptions) -> Iterator[Result]:
    """Yield the results for paths and records, in their order."""
    for are_records, group in groupby(ecgs, key=lambda ecg: isinstance(ecg, Record)):
        if are_records:
            records = (ecg for ecg in group if isinstance(ecg, Record))
            yield from predict_records(predictor, records, options)
        else:
            paths = (ecg for ecg in group if not isinstance(ecg, Record))
            yield from predict(predictor, paths, options)


@dataclass(frozen=True)
class Explanation:
    """Importance of parts of one record for a label.

    A value is the fall of the calibrated logit when the part is occluded: positive where it speaks for the label.
    """

    record: Record
    label: str
    probability: float
    """Calibrated probability of the label."""
    time: "pd.Series[float]"
    """Importance of each step of 0.2 s, by its start in seconds."""
    leads: "pd.Series[float]"
    """Importance of each of the 8 independent leads. The other four follow from I and II."""

    def __repr__(self) -> str:
        return f"<{self.record.name}: {self.label} {self.probability:.2f}, explained by time and by lead>"

    def plot(self) -> "Figure":
        """Plot the ECG on clinical paper, shaded where the signal speaks for the label, the more the darker."""
        from data_prep.paper import MM_PER_SECOND, plot_record

        figure = plot_record(self.record)
        axes, step = figure.axes[0], float(self.time.index[1] - self.time.index[0])
        largest = float(self.time.max())
        for start, importance in self.time.items():
            if importance > 0:
                ends = (float(str(start)) * MM_PER_SECOND, (float(str(start)) + step) * MM_PER_SECOND)
                axes.axvspan(*ends, color=SHADE, alpha=0.6 * importance / largest, lw=0, zorder=1)
        figure.text(
            0.5, 0.955, f"{self.label} {self.probability:.2f}; shaded where it speaks for {self.label}", fontsize=9
        )
        return figure
