"""Reconstruction: the waveform of a partly masked record."""

import math
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from ecgmtl.model.heads import Reconstructed
from ecgmtl.model.network import RECONSTRUCTION
from ecgmtl.ranks import average_over_ranks
from ecgmtl.settings import Settings
from ecgmtl.tasks.base import LossInput, ModelFacts, Need, StageFacts, Task, ValidationView
from ecgmtl.tracking import names

NORMAL_95 = 1.96
"""Standard deviations around the mean that hold 95 % of a normal distribution."""


class ReconstructionSettings(Settings):
    """Settings of the reconstruction loss, sample by sample, in standardized units."""

    kind: Literal["mse", "huber", "beta_nll"] = "mse"
    """Squared error, Huber loss for rare, huge artifacts, or a likelihood with a variance for each sample and lead."""
    delta: PositiveFloat = 1.0
    """huber: error above which the loss is linear."""
    beta: float = Field(0.5, ge=0, le=1)
    """beta_nll: 0 is the plain likelihood, which neglects samples of large error; 1 weights all samples alike."""
    warmup: float = Field(0.1, ge=0, le=1)
    """beta_nll: fraction of the stage's first steps with the squared error, without a variance."""
    target: Literal["own", "segments", "shuffled"] = "own"
    """Target: the record's own samples; these normalized in each segment; or, as a control, another record's."""
    segment: int = Field(25, ge=2)
    """segments: length of a segment in samples. A decoder that learns them gives shapes without level and height."""

    @property
    def can_be_negative(self) -> bool:
        return self.kind == "beta_nll"


class Reconstruction(Task):
    """Mean error over the scored samples of the reconstructed leads, in standardized units; 0 without any.

    beta_nll is Seitzer et al. (ICLR 2022), equation 5: sg[exp(beta s)] (s + error^2 exp(-s)) / 2 with s = log variance.
    """

    part: ClassVar[str] = "decoder"
    needs: ClassVar[frozenset[Need]] = frozenset({"masks"})
    view: ClassVar[ValidationView] = "masked"
    priority: ClassVar[int] = 1

    def __init__(self, settings: ReconstructionSettings = ReconstructionSettings()) -> None:  # noqa: B008
        super().__init__(RECONSTRUCTION)
        self.settings = settings

    @property
    def can_be_negative(self) -> bool:
        return self.settings.can_be_negative

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return facts.decoder.build(n_features, stride)

    def check(self, stage: StageFacts) -> None:
        if not stage.masks and not stage.scores_visible:
            raise ValueError(
                f"stage '{stage.name}' masks nothing, so its reconstruction is never scored; set masking.visible"
            )

    def check_model(self, stage: str, facts: ModelFacts) -> None:
        if self.settings.kind == "beta_nll" and not facts.decoder.log_var:
            raise ValueError(f"stage '{stage}': reconstruction.kind beta_nll needs a variance; set decoder.log_var too")

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        output, settings = inputs.outputs.get(RECONSTRUCTION), self.settings
        if output is None or inputs.batch.scored is None:
            raise ValueError("the reconstruction loss needs a reconstruction, and which samples are scored")
        scored = inputs.model.scored(inputs.batch.scored)
        truth = self.truth(inputs)
        error = output.mean - truth
        if settings.kind == "huber":
            # error^2 where it is small
            each = 2 * F.huber_loss(output.mean, truth, reduction="none", delta=settings.delta)
        elif settings.kind == "beta_nll" and inputs.progress >= settings.warmup:
            log_var = variance_of(output)
            each = (settings.beta * log_var).exp().detach() * 0.5 * (log_var + error.square() * torch.exp(-log_var))
        else:
            each = error.square()
        # parallel processes mask different numbers of samples: divide by the mean, so that all samples count alike
        return (each * scored).sum() / average_over_ranks(scored.sum()).clamp(min=1)

    def truth(self, inputs: LossInput) -> Float[Tensor, "batch row time"]:
        """Return the target of the decoder. A shuffled one is the next record of the batch."""
        signals = inputs.model.standardize.basis(inputs.batch.signals)
        if self.settings.target == "shuffled":
            return signals.roll(1, dims=0)
        return normalize_segments(signals, self.settings.segment) if self.settings.target == "segments" else signals

    def validated_as(self) -> "Reconstruction":
        segments = self.settings.target == "segments"
        kept = {"target": self.settings.target, "segment": self.settings.segment} if segments else {}
        return Reconstruction(ReconstructionSettings.model_validate(kept))

    def measure(self, inputs: LossInput) -> dict[str, float]:
        """Sum squared errors in mV²; likelihood and coverage where a variance is given, in standardized units."""
        if self.settings.target == "segments":
            return {}  # what the decoder gives has no unit
        output, standardize = inputs.outputs[RECONSTRUCTION], inputs.model.standardize
        if inputs.batch.scored is None:
            raise ValueError("the figures of a reconstruction need which samples are scored")
        scored, truth = inputs.model.scored(inputs.batch.scored), standardize.basis(inputs.batch.signals)
        error = standardize.to_mv(output.mean) - standardize.to_mv(truth)
        sums = {"square_mv": float((error.square() * scored).sum())}
        return sums if output.log_var is None else sums | likelihood(output.mean - truth, output.log_var, scored)

    def figures(self, means: dict[str, float], answers: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float]:
        rest = {name: value for name, value in means.items() if name != "square_mv"}
        rmse = {names.RMSE: means["square_mv"] ** 0.5} if "square_mv" in means else {}
        return {**super().figures(rest, answers), **rmse}


FLATTEST = 0.1
"""Standard deviation added to that of a segment, in standardized units: a flat segment would be nothing but noise."""


def normalize_segments(signals: Float[Tensor, "batch row time"], length: int) -> Float[Tensor, "batch row time"]:
    """Subtract each segment's mean and divide by its standard deviation (He et al., MAE, CVPR 2022, section 4.1).

    A last, shorter segment is normalized together with the one before.
    """
    n_samples = signals.shape[-1]
    index = (torch.arange(n_samples, device=signals.device) // length).clamp(max=max(n_samples // length - 1, 0))
    counts = torch.bincount(index).to(signals.dtype)

    def means(values: Tensor) -> Tensor:
        sums = values.new_zeros(*values.shape[:-1], len(counts)).index_add_(-1, index, values)
        return (sums / counts)[..., index]

    centered = signals - means(signals)
    return centered / (means(centered.square()).sqrt() + FLATTEST)


def likelihood(error: Tensor, log_var: Tensor, scored: Tensor) -> dict[str, float]:
    """Sum the negative log-likelihood of the errors, and how many lie within the predicted 95 % interval."""
    nll = 0.5 * (log_var + error.square() * torch.exp(-log_var) + math.log(2 * math.pi))
    within = error.abs() <= NORMAL_95 * torch.exp(0.5 * log_var)
    return {
        "reconstruction_nll": float((nll * scored).sum()),
        "reconstruction_coverage_95": float((within * scored).sum()),
    }


def variance_of(output: Reconstructed) -> Float[Tensor, "batch row time"]:
    """Return the log-variance of an output.

    Raises:
        ValueError: the decoder predicts none.
    """
    if output.log_var is None:
        raise ValueError("beta_nll needs a decoder that predicts a variance; set decoder.log_var")
    return output.log_var
