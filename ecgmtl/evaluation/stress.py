"""How much of its macro AUROC a model loses under each perturbation, with paired intervals."""

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
from ecgmtl.data.split import Split
from ecgmtl.evaluation.classification import Estimate
from ecgmtl.evaluation.perturbations import FAMILIES, PERTURBATIONS, Change, Signals
from ecgmtl.evaluation.protocols import Protocol
from ecgmtl.metrics.bootstrap import bootstrap, interval
from ecgmtl.metrics.ranking import auroc, mean_defined
from ecgmtl.model.network import MultiTaskModel

N_PASSES = 1 + len(PERTURBATIONS)
"""Over the split."""


class StressError(UserError):
    """A perturbation under which the model says nothing that could be measured."""


@dataclass(frozen=True)
class StressReport:
    clean: Estimate
    """Macro AUROC without any perturbation."""
    losses: pd.DataFrame
    """By perturbation: description, family, macro_auroc, and the loss to the clean one with its interval."""
    summary: pd.DataFrame
    """The same, each family as its mean and its worst member."""
    n_bootstrap: int

    @property
    def worst(self) -> tuple[str, float]:
        """The perturbation that costs most, and what it costs."""
        return str(self.losses["loss"].idxmax()), float(self.losses["loss"].max())


@dataclass(frozen=True)
class Ranker:
    """Macro AUROC of a model on a split, as it is and over resamples of patients: the same ones every time."""

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
        logits, truth = self.logits(change, missing), self.split.labels.cpu().numpy() > 0
        if not np.isfinite(logits).all():
            raise StressError(f"{name}: the model's output is not a number; it cannot be judged under stress.")
        value = float(mean_defined(auroc(logits, truth)))
        if np.isnan(value):
            raise StressError(f"{name}: no label has records with and without it; there is nothing to rank.")
        if not self.n_bootstrap:
            return value, np.zeros(0)
        draws = bootstrap(logits, truth, self.split.patients, self.n_bootstrap, self.seed, self.advance)
        return value, mean_defined(draws.auroc)

    @torch.inference_mode()
    def logits(self, change: Change | None, missing: str, batch_size: int = 256) -> Float64[np.ndarray, "record label"]:
        split, parts = self.split, []
        mask = torch.tensor([lead == missing for lead in BASIS_LEADS], device=split.device)
        for index in torch.arange(len(split), device=split.device).split(batch_size):
            signals = split.batch(index).signals
            # a filter is no stress: records that were filtered when they were prepared are filtered again, all alike
            if change is not None or self.preprocess.band is not None:
                names = [split.names[place] for place in index.tolist()]
                recorded = signals.cpu().numpy()
                changed = recorded if change is None else change(Signals(recorded, split.fs, names))
                levelled = self.preprocess.level(changed)
                levelled = np.pad(levelled, ((0, 0), (0, 0), (0, split.n_samples - levelled.shape[-1])))
                signals = torch.from_numpy(np.ascontiguousarray(levelled)).to(split.device)
            parts.append(self.protocol.logits(self.model, signals, split.fs, mask).cpu())
            self.advance(len(index))
        return torch.cat(parts).numpy()


def report_stress(rank: Ranker) -> StressReport:
    """The loss of macro AUROC under every perturbation; positive where the model got worse.

    Raises:
        StressError: the model's output is not finite, or no label has both positives and negatives.
    """
    value, clean = rank("as recorded")
    rows: dict[str, dict[str, Any]] = {}
    draws = {}
    for name, perturbation in PERTURBATIONS.items():
        found, resampled = rank(name, perturbation.change, perturbation.missing)
        draws[name] = clean - resampled
        rows[name] = {
            "description": perturbation.description,
            "family": perturbation.family,
            "macro_auroc": found,
            **loss(value - found, draws[name]),
        }
    losses = pd.DataFrame.from_dict(rows, orient="index").rename_axis("perturbation")
    return StressReport(Estimate(value, *ends(clean)), losses, summarize(losses, draws, value), rank.n_bootstrap)


def summarize(losses: pd.DataFrame, draws: dict[str, np.ndarray], clean: float) -> pd.DataFrame:
    """Those that stand alone, then of each family the mean over its members and the worst of them."""
    rows: dict[Any, dict[Any, Any]] = losses[losses["family"] == ""].to_dict(orient="index")
    for family, description in FAMILIES.items():
        members = losses[losses["family"] == family]
        worst = str(members["loss"].idxmax())
        mean = float(members["loss"].mean())
        rows[f"{family}_mean"] = {
            "description": f"{description}: mean",
            "family": family,
            "macro_auroc": clean - mean,
            **loss(mean, np.mean([draws[str(name)] for name in members.index], axis=0)),
        }
        rows[f"{family}_worst"] = members.loc[worst].to_dict() | {
            "description": f"{description}: worst, {PERTURBATIONS[worst].description}"
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("perturbation")


def loss(value: float, draws: Float64[np.ndarray, " resample"]) -> dict[str, float]:
    low, high = ends(draws)
    return {"loss": value, "loss_low": low, "loss_high": high}


def ends(draws: Float64[np.ndarray, " resample"]) -> tuple[float, float]:
    """Of the 95 % interval; nan where nothing was resampled."""
    if not len(draws):
        return float("nan"), float("nan")
    low, high = interval(draws)
    return float(low), float(high)
