"""Predictions as JSON: the response of the service, as its OpenAPI description has it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from data_prep.leads import standard_lead
from data_prep.quality import Finding, Severity
from data_prep.readers import OtherFile
from data_prep.safe_text import printable
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.result import Failure, Prediction


class FindingAnswer(BaseModel):
    """Something odd about a record, as docs/quality.md describes it."""

    code: str
    severity: Severity
    sentence: str
    leads: list[str] = Field(description="Leads that it is about; empty where it is about the whole record.")
    value: float | None = Field(description="Measured number, in the unit that belongs to the code.")


class Label(BaseModel):
    """Prediction for one label."""

    probability: float = Field(description="Calibrated probability.")
    uncalibrated: float = Field(description="Sigmoid of the logit.")
    threshold: float = Field(description="Calibrated probability from which on the label is predicted.")
    decision: bool | None = Field(description="Whether the label is predicted. Null where no decision is made.")


class RecordAnswer(BaseModel):
    """Result for one record."""

    path: str = Field(description="Name of the file as it was sent. A WFDB record has that of its header.")
    status: Literal["ok", "undecided", "failed"]
    message: str | None = Field(description="Reason of a failure, or why no decision is made.")
    findings: list[FindingAnswer]
    labels: dict[str, Label] = Field(description="Empty for a file that failed.")
    reconstruction_rmse_mv: float | None = Field(None, description="Null for a model without a decoder.")
    unlike_training: float | None = Field(
        None,
        description="How unlike the training records it is; no decision above 1. Null for a model that cannot tell.",
    )
    fs: float | None = Field(None, description="Sampling rate of the file, in hertz.")
    leads: list[str] = Field(
        [],
        description="Standard leads as the file spells them. Other names, perhaps a person's, are left out.",
    )


class OtherAnswer(BaseModel):
    """A file that holds no ECG, such as a table about records."""

    path: str
    kind: str


class Answer(BaseModel):
    """Results of a request, each file accounted for."""

    model: str
    label_set: str
    notice: str
    results: list[RecordAnswer]
    other_files: list[OtherAnswer]


def answer_of(result: Prediction | Failure, metadata: ModelMetadata) -> RecordAnswer:
    """Return the result for one record."""
    path = printable(str(result.path))
    if isinstance(result, Failure):
        message, findings = printable(result.reason), as_json(result.findings)
        return RecordAnswer(path=path, status="failed", message=message, findings=findings, labels={})
    thresholds = metadata.by_label(metadata.calibration.thresholds)
    return RecordAnswer(
        path=path,
        status="ok" if result.undecided is None else "undecided",
        message=None if result.undecided is None else printable(result.undecided),
        findings=as_json(result.findings),
        labels={
            name: Label(
                probability=probability,
                uncalibrated=result.probabilities[name],
                threshold=thresholds[name],
                decision=result.decisions.get(name),
            )
            for name, probability in result.calibrated.items()
        },
        reconstruction_rmse_mv=result.reconstruction_rmse,
        unlike_training=result.unlike_training,
        fs=None if result.signals is None else result.signals.record.fs,
        leads=[] if result.signals is None else [*filter(standard_lead, result.signals.record.leads)],
    )


def as_json(findings: Sequence[Finding]) -> list[FindingAnswer]:
    """Return findings as the response has them."""
    return [FindingAnswer.model_validate(finding.to_dict()) for finding in findings]


def others_of(others: Sequence[OtherFile]) -> list[OtherAnswer]:
    """Return the files that hold no ECG."""
    return [OtherAnswer(path=printable(str(other.path)), kind=str(other.kind)) for other in others]
