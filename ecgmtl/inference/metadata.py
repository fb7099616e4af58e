"""Metadata that a classifier needs beside its weights, stored as JSON in every exported model."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32
from pydantic import Field, model_validator

from data_prep.errors import UserError
from data_prep.leads import STANDARD_LEADS
from data_prep.preprocess import Preprocess
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.metrics.typicality import Typicality
from ecgmtl.settings import Settings

T = TypeVar("T")
VERSION = 1
MEANINGS = {
    "superdiagnostic": {
        "CD": "conduction disturbance",
        "HYP": "hypertrophy",
        "MI": "myocardial infarction",
        "NORM": "normal ECG",
        "STTC": "ST/T change",
    }
}
"""Meanings of labels, by label set: PTB-XL's diagnostic superclasses (Wagner et al. 2020)."""


class MetadataError(UserError):
    """A model that cannot be run, or whose metadata are missing, damaged or of another version."""


class ModelMetadata(Settings):
    """Labels, calibration, preprocessing and origin of a classifier."""

    label_set: str
    label_names: tuple[str, ...]
    calibration: Calibration
    preprocess: Preprocess
    lead_mean: tuple[float, ...] = ()
    """Mean of each lead over the training split, in mV. The exported graph subtracts it itself."""
    lead_std: tuple[float, ...] = ()
    """Standard deviation of each lead, in mV. The exported graph divides by it itself."""
    provenance: dict[str, str] = Field(default_factory=dict)
    score: str = ""
    """Validation score with its interval, in words."""
    typicality: Typicality | None = None
    """Distribution of the training records, by which records unlike them are detected. Earlier exports lack it."""
    card: str = ""
    """Model card in Markdown: data, scores, intended use and limits."""

    @model_validator(mode="after")
    def labels_fit(self) -> "ModelMetadata":
        self.calibration.require_labels(self.label_names)
        return self

    @property
    def meanings(self) -> dict[str, str]:
        """Meaning of each label, where the label set is a known one."""
        return MEANINGS.get(self.label_set, {})

    def by_label(self, values: Iterable[T]) -> dict[str, T]:
        """Return values that are in the order of the labels, by label."""
        return dict(zip(self.label_names, values, strict=True))

    def to_json(self) -> str:
        """Return the metadata as JSON, with the leads, unit and sampling rate of the input."""
        tree = self.model_dump(mode="json") | {"preprocess": asdict(self.preprocess)}
        return json.dumps({"version": VERSION, "leads": STANDARD_LEADS, "unit": "mV", "fs": self.preprocess.fs, **tree})

    def check_logits(self, logits: np.ndarray, n_records: int, source: str) -> Float32[np.ndarray, "batch label"]:
        """Return the output of an exported graph.

        Raises:
            MetadataError: it does not have a number for each record and label.
        """
        if logits.dtype != np.float32 or logits.shape != (n_records, len(self.label_names)):
            raise MetadataError(
                f"{source}: returns {logits.dtype} of {logits.shape} for {n_records} records and "
                f"{len(self.label_names)} labels; export it again."
            )
        return logits

    @classmethod
    def from_json(cls, text: str | None, source: str) -> "ModelMetadata":
        """Return the metadata of an exported model. `source` names it in errors."""
        if not text:
            raise MetadataError(f"{source}: is not a model that ecgmtl exported, because it has no metadata of ecgmtl.")
        try:
            tree: dict[str, Any] = json.loads(text)
            version = tree.pop("version")
            if version == VERSION:
                for fixed in ("leads", "unit", "fs"):
                    tree.pop(fixed)
                return cls.model_validate(tree)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise MetadataError(f"{source}: its metadata are damaged ({error}); export it again.") from error
        raise MetadataError(f"{source} was exported by another version of ecgmtl; export it again.")
