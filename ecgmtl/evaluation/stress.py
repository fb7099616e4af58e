"""Stress test: the loss of macro AUROC under each perturbation, with paired intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64

from data_prep.errors import UserError
from data_prep.leads import BASIS_LEADS
from data_prep.preprocess import Preprocess
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.evaluation.classification import Estimate
from ecgmtl.evaluation.perturbations import FAMILIES, PERTURBATIONS, Change, CleanRecords
from ecgmtl.evaluation.protocols import Protocol
from ecgmtl.metrics.bootstrap import bootstrap, interval
from ecgmtl.metrics.ranking import auroc, mean_defined
from ecgmtl.model.network import MultiTaskModel

N_PASSES = 1 + len(PERTURBATIONS)
"""Number of passes over the split."""


class StressError(UserError):
    """A perturbation under which the macro AUROC cannot be measured."""


@dataclass(frozen=True)
class StressReport:
    """Losses of macro AUROC under perturbations."""

    clean: Estimate
    """Macro AUROC without any perturbation."""
    losses: pd.DataFrame
    """Table by perturbation: description, family, macro_auroc, and its loss to the clean one with an interval."""
    summary: pd.DataFrame
    """The same table, with the mean and the worst member of each family."""
    n_bootstrap: int

    @property
    def worst(self) -> tuple[str, float]:
        """Perturbation with the largest loss, and the loss."""
        return str(self.losses["loss"].idxmax()), float(self.losses["loss"].max())


@dataclass(frozen=True)
class Ranker:
    """Macro AUROC of a model on a split and on resamples of its patients, which are the same in every call."""

    model: MultiTaskModel
    split: Split
    protocol: Protocol
    preprocess: Preprocess
    n_bootstrap: int
    seed: int
    advance: Callable[[int], None]

    def __call__(
        self, name: str, change: Change | None = None, missing: str = ""
    ) -> tuple[float, Float64[np.ndarray, " resample"]]:
        """Return the macro AUROC of the perturbed records, and that of each resample.

        Raises:
            StressError: the model's output is not finite, or no label has both positives and negatives.
        """
        logits, truth = self.logits(change, missing), self.split.labels.cpu().numpy() > 0
        if not np.isfinite(logits).all():
            raise StressError(f"{name}: the model's output is not finite, so there is no AUROC; train it again.")
        value = float(mean_defined(auroc(logits, truth)))
        if np.isnan(value):
            raise StressError(
                f"{name}: each label belongs to all records or to none, so AUROC is undefined; choose another split."
            )
        if not self.n_bootstrap:
            return value, np.zeros(0)
        resampled = bootstrap(logits, truth, self.split.patients, self.n_bootstrap, self.seed, self.advance)
        return value, mean_defined(resampled.auroc)

    @torch.inference_mode()
    def logits(self, change: Change | None, missing: str) -> Float64[np.ndarray, "record label"]:
        """Compute the logits of the perturbed records. `missing` is a lead that is masked, if any."""
        split, parts = self.split, []
        mask = torch.tensor([lead == missing for lead in BASIS_LEADS], device=split.device)
        for index in torch.arange(len(split), device=split.device).split(AT_A_TIME):
            signals = split.batch(index).signals
            # filtering alone is not stress: records that were filtered in preparation are all filtered again
            if change is not None or self.preprocess.band is not None:
                names = [split.names[row] for row in index.tolist()]
                recorded = signals.cpu().numpy()
                changed = recorded if change is None else change(CleanRecords(recorded, split.fs, names))
                levelled = self.preprocess.level(changed)
                levelled = np.pad(levelled, ((0, 0), (0, 0), (0, split.n_samples - levelled.shape[-1])))
                signals = torch.from_numpy(np.ascontiguousarray(levelled)).to(split.device)
            parts.append(self.protocol.logits(self.model, signals, split.fs, mask).cpu())
            self.advance(len(index))
        return torch.cat(parts).numpy()


def report_stress(rank: Ranker) -> StressReport:
    """Measure the loss of macro AUROC under every perturbation. It is positive where the model gets worse.

    Raises:
        StressError: the model's output is not finite, or no label has both positives and negatives.
    """
    value, clean = rank("as recorded")
    rows: dict[str, dict[str, Any]] = {}
    resampled_losses = {}
    for name, perturbation in PERTURBATIONS.items():
        perturbed, resampled = rank(name, perturbation.change, perturbation.missing)
        resampled_losses[name] = clean - resampled
        rows[name] = {
            "description": perturbation.description,
            "family": perturbation.family,
            "macro_auroc": perturbed,
            **loss(value - perturbed, resampled_losses[name]),
        }
    losses = pd.DataFrame.from_dict(rows, orient="index").rename_axis("perturbation")
    summary = summarize(losses, resampled_losses, value)
    return StressReport(Estimate(value, *limits(clean)), losses, summary, rank.n_bootstrap)


def summarize(losses: pd.DataFrame, resampled_losses: dict[str, np.ndarray], clean: float) -> pd.DataFrame:
    """Return perturbations without a family, then the mean and the worst member of each family."""
    rows: dict[Any, dict[Any, Any]] = losses[losses["family"] == ""].to_dict(orient="index")
    for family, description in FAMILIES.items():
        members = losses[losses["family"] == family]
        worst = str(members["loss"].idxmax())
        mean = float(members["loss"].mean())
        rows[f"{family}_mean"] = {
            "description": f"{description}: mean",
            "family": family,
            "macro_auroc": clean - mean,
            **loss(mean, np.mean([resampled_losses[str(name)] for name in members.index], axis=0)),
        }
        rows[f"{family}_worst"] = members.loc[worst].to_dict() | {
            "description": f"{description}: worst, {PERTURBATIONS[worst].description}"
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("perturbation")


def loss(value: float, resampled: Float64[np.ndarray, " resample"]) -> dict[str, float]:
    """Return the columns of a loss and its interval."""
    low, high = limits(resampled)
    return {"loss": value, "loss_low": low, "loss_high": high}


def limits(resampled: Float64[np.ndarray, " resample"]) -> tuple[float, float]:
    """Return the limits of the 95 % interval; nan where nothing was resampled."""
    if not len(resampled):
        return float("nan"), float("nan")
    low, high = interval(resampled)
    return float(low), float(high)
