"""A finding: one unusual thing about a record, with a code, a sentence and a severity."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from data_prep.record import RecordError
from data_prep.safe_text import printable


class Severity(StrEnum):
    """Severity of a finding."""

    NOTE = "note"
    """The record is used, and the user is informed."""
    NO_DECISION = "no decision"
    """The record has probabilities, but no decision is made on them."""
    FAILURE = "failure"
    """The record is not used."""


@dataclass(frozen=True)
class Finding:
    """One unusual thing about a record."""

    code: str
    """Stable name for programs: lower-case words joined by hyphens, as in docs/quality.md."""
    sentence: str
    """Human-readable sentence, which names no file and quotes nothing from inside it."""
    severity: Severity = Severity.NOTE
    leads: tuple[str, ...] = ()
    """Leads that the finding is about. Empty where it is about the whole record."""
    value: float | None = None
    """Measured number, in the unit that docs/quality.md gives for the code."""

    @property
    def label(self) -> str:
        """The code, with the leads where the finding names some: `flat-lead=V2,V3`."""
        return f"{self.code}={','.join(self.leads)}" if self.leads else self.code

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it, with text that changes no screen."""
        return {
            "code": self.code,
            "sentence": printable(self.sentence),
            "value": self.value,
            "leads": list(self.leads),
            "severity": str(self.severity),
        }


class QualityError(RecordError):
    """A record that is not used because of its findings. The message is the sentence of the first failure."""

    def __init__(self, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


def has_failure(findings: Iterable[Finding]) -> bool:
    """Return whether a finding prevents the use of the record."""
    return any(finding.severity is Severity.FAILURE for finding in findings)


def refuse_failures(name: str, findings: Iterable[Finding]) -> None:
    """Raise QualityError if a finding prevents the use of the record `name`."""
    findings = tuple(findings)
    failure = next((finding for finding in findings if finding.severity is Severity.FAILURE), None)
    if failure is not None:
        raise QualityError(f"{name}: {failure.sentence}", findings)
