"""Result of a prediction for one record: the prediction, or the reason why there is none."""

from dataclasses import dataclass, field, replace
from traceback import format_exception
from typing import TypeVar

from data_prep.places import File
from data_prep.quality import Finding, Severity
from data_prep.readers import OtherFile
from ecgmtl.inference.windows import RecordSignals

NO_DECISION = Severity.NO_DECISION


@dataclass(frozen=True)
class Prediction:
    """Prediction for one record."""

    path: File
    probabilities: dict[str, float]
    """Uncalibrated probabilities: the sigmoid of each logit."""
    calibrated: dict[str, float]
    """Probabilities calibrated to the frequencies of the validation split."""
    decisions: dict[str, bool]
    """Whether the calibrated probability reaches the label's threshold. Empty where the record is `undecided`."""
    reconstruction_rmse: float | None
    """Error of the reconstruction of masked samples, in mV. None for a model without a decoder."""
    findings: tuple[Finding, ...] = ()
    """Findings on the record. Those that forbid a decision come first."""
    signals: RecordSignals | None = field(default=None, repr=False, compare=False)
    """Signals that the prediction was made from. None unless `keep_signals` was set."""
    unlike_training: float | None = None
    """How unlike the training records it is: above 1, no decision is made. None if the model cannot measure it."""

    @property
    def undecided(self) -> str | None:
        """Reason why no decision is made, or None."""
        return " ".join(finding.sentence for finding in self.findings if finding.severity is NO_DECISION) or None

    @property
    def warnings(self) -> str:
        """Sentences of the findings. The reason why no decision is made comes first, if there is one."""
        notes = [finding.sentence for finding in self.findings if finding.severity is not NO_DECISION]
        return " ".join(notes if self.undecided is None else [f"No decision: {self.undecided}", *notes])


@dataclass(frozen=True)
class Failure:
    """A file for which there is no prediction."""

    path: File
    reason: str
    findings: tuple[Finding, ...] = ()
    """Findings on the record, among them the failure itself."""
    traceback: str = ""
    """Traceback of an unexpected error, which is a bug in ecgmtl; empty where the file is at fault."""


def fail(path: File, code: str, reason: str) -> Failure:
    """Return the failure of a file for one reason."""
    return Failure(path, reason, (Finding(code, reason.removeprefix(f"{path.name}: "), Severity.FAILURE),))


def report_bug(path: File, error: Exception) -> Failure:
    """Return the failure of a file by a bug. It names only the type of the error, as its text may quote the file."""
    reason = f"{path.name}: {type(error).__name__}, a bug in ecgmtl. Add --debug to see where, and report it."
    return replace(fail(path, "bug", reason), traceback="".join(format_exception(error)))


Result = Prediction | Failure | OtherFile
R = TypeVar("R", bound=Result)


def fail_undecided(result: R) -> R | Failure:
    """Return a prediction without a decision as a failure for the same reason, and any other result unchanged."""
    if not isinstance(result, Prediction) or result.undecided is None:
        return result
    return Failure(result.path, f"{result.path.name}: {result.undecided}", result.findings)
