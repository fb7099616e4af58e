"""Options of a prediction: how files are read, and how their results are treated."""

from dataclasses import asdict, dataclass
from typing import Any

from data_prep.readers.options import ReadOptions, as_typed
from ecgmtl.inference.predictor import Predictor, load_predictor, with_typicality
from ecgmtl.inference.windows import Window

BATCH = 64
"""Number of records that are read and classified at once."""


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction. Each of them may change rows of its table."""

    read: ReadOptions = ReadOptions()  # noqa: RUF009, it is frozen
    """Facts that files do not state, such as the sampling rate."""
    batch_size: int = BATCH
    """Number of records that are read and classified at once."""
    window: Window = Window.FIRST
    """Windows that are predicted of a recording longer than the model's input."""
    strict: bool = False
    """Whether a record without a decision is a failure."""
    reconstruction_error: bool = True
    """Whether a checkpoint also measures the error of its reconstruction."""
    warn_ood: bool | None = None
    """Whether records unlike the training records are detected. None: if the model supports it."""

    def as_typed(self) -> dict[str, Any]:
        """Return the options under the names that they have on the command line."""
        return {
            **as_typed(asdict(self.read)),
            "--batch": self.batch_size,
            "--window": str(self.window),
            "--strict": self.strict,
            "--reconstruction-error": self.reconstruction_error,
            "--warn-ood": self.warn_ood is not False,
        }

    def load(self, model: str, n_threads: int = 0) -> Predictor:
        """Load the model that predicts with these options, in `n_threads`, or with 0 in one for each core.

        Raises:
            PredictorError: the model cannot detect records unlike the training records, although `warn_ood` is set.
            UserError: as `load_predictor`.
        """
        return with_typicality(load_predictor(model, n_threads, self.reconstruction_error), model, self.warn_ood)
