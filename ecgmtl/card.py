"""What a classifier needs beside its weights to be used rightly, as JSON that travels with every exported model."""

import json
from dataclasses import asdict
from typing import Any

from pydantic import Field

from data_prep.leads import STANDARD_LEADS
from data_prep.preprocess import Preprocess
from ecgmtl.calibration import Calibration
from ecgmtl.settings import Settings

VERSION = 1


class CardError(ValueError):
    """An exported model without a card, or with one that this version cannot read."""


class Card(Settings):
    label_set: str
    label_names: tuple[str, ...]
    calibration: Calibration
    preprocess: Preprocess
    lead_mean: tuple[float, ...] = ()
    """mV, over the training split; the exported graph subtracts it itself."""
    lead_std: tuple[float, ...] = ()
    provenance: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> str:
        tree = self.model_dump(mode="json") | {"preprocess": asdict(self.preprocess)}
        return json.dumps({"version": VERSION, "leads": STANDARD_LEADS, "unit": "mV", "fs": self.preprocess.fs, **tree})

    @classmethod
    def from_json(cls, text: str | None, source: str) -> "Card":
        """The card of an exported model; `source` names it in errors."""
        if not text:
            raise CardError(f"{source}: not a model that ecgmtl exported; it carries no description.")
        try:
            tree: dict[str, Any] = json.loads(text)
            version = tree.pop("version")
            if version == VERSION:
                for fixed in ("leads", "unit", "fs"):
                    tree.pop(fixed)
                return cls.model_validate(tree)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CardError(f"{source}: its description is damaged ({error}); export it again.") from error
        raise CardError(f"{source} was exported by another version of ecgmtl; export it again.")
