"""The few figures that are computed after every epoch. The full report is in evaluate."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.masking import draw_hidden
from ecgmtl.data.split import Split
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.tasks import MAIN, Scoring, Seen, loss_of

BATCH = 256
NORMAL_95 = 1.96
"""Deviations about the mean that hold 95 % of a normal distribution."""
PLAIN = Scoring()
MASK_SEED = 9
"""The same samples are hidden after every epoch, so that the curve shows the model and not the draw."""


@torch.inference_mode()
def validate(model: MultiTaskModel, stage: Stage, split: Split) -> dict[str, float]:
    """Mean loss of each task over a split, macro-AUROC, and the error of the reconstruction in mV; always in fp32.

    The reconstruction is compared with its own truth by the squared error, however the stage learns it; where a
    variance is drawn beside it, also by the likelihood, in standardized units, and by the share of samples that lie
    within 95 % of the distribution drawn. The teacher of latent prediction is the model itself.
    """
    model.eval()
    generator = torch.Generator(split.device).manual_seed(MASK_SEED)
    read = tuple(task for task in stage.losses if task.startswith(MAIN))
    if stage.classifies and MAIN not in read:
        read = (MAIN, *read)
    sums: dict[str, float] = dict.fromkeys(read, 0.0)
    drawn = Drawn()
    logits: list[Tensor] = []
    for batch in split.in_order(BATCH):
        if stage.hides:
            drawn.add(model, stage, hide(stage, batch, split.fs, generator))
        if "contrastive" in stage.losses:
            sums["contrastive"] = sums.get("contrastive", 0.0) + apart(model, batch) * len(batch.labels)
        if read:
            output = model(batch.signals, None, read)
            for task in read:
                sums[task] += float(loss_of(task, Seen(model, output, batch, 1.0), PLAIN)) * len(batch.labels)
            if output.logits is not None:
                logits.append(output.logits)
    figures = {f"loss.{task}": total / len(split) for task, total in sums.items()}
    if stage.hides:
        figures |= drawn.figures()
    if logits:
        figures["macro_auroc"] = macro_auroc(torch.cat(logits).cpu().numpy(), split.labels.cpu().numpy())
    return figures


@torch.inference_mode()
def infer_logits(model: MultiTaskModel, split: Split) -> Float[Tensor, "record label"]:
    """Of whole records, in their order; the model is put into eval mode."""
    model.eval()
    return torch.cat([model.classify(batch.signals) for batch in split.in_order(BATCH)])


@dataclass
class Drawn:
    """Sums over the samples that a reconstruction is judged on."""

    sums: dict[str, float] = field(default_factory=dict)
    """By figure."""
    squares: float | None = None
    """Of errors, in mV²; None where nothing is redrawn."""
    count: float = 0.0

    def add(self, model: MultiTaskModel, stage: Stage, batch: Batch) -> None:
        if batch.scored is None:
            return
        tasks = tuple(task for task in stage.losses if task in ("reconstruction", "consistency", "latent"))
        output = model(batch.signals, batch.hidden, tasks)
        scored = model.scored(batch.scored)
        if "latent" in tasks:
            batch = batch._replace(target=model.features(batch.signals, "latent", model.encoder))
        count = float(scored.sum())
        for task in tasks:
            self.count_in(f"loss.{task}", count * float(loss_of(task, Seen(model, output, batch, 1.0), PLAIN)))
        if stage.reconstructs:
            scale = model.standardize.to_mv
            error = scale(output.reconstruction) - scale(model.standardize.basis(batch.signals))
            self.squares = (self.squares or 0.0) + float((error.square() * scored).sum())
        if output.log_var is not None:
            error = output.reconstruction - model.standardize.basis(batch.signals)
            self.add_variance(error, output.log_var, scored)
        self.count += count

    def add_variance(self, error: Tensor, log_var: Tensor, scored: Tensor) -> None:
        """How likely the errors are under the variances drawn with them; how often they lie within those."""
        likely = 0.5 * (log_var + error.square() * torch.exp(-log_var) + math.log(2 * math.pi))
        within = error.abs() <= NORMAL_95 * torch.exp(0.5 * log_var)
        self.count_in("reconstruction_nll", float((likely * scored).sum()))
        self.count_in("reconstruction_coverage_95", float((within * scored).sum()))

    def count_in(self, figure: str, value: float) -> None:
        self.sums[figure] = self.sums.get(figure, 0.0) + value

    def figures(self) -> dict[str, float]:
        count = max(self.count, 1.0)
        means = {figure: total / count for figure, total in self.sums.items()}
        return means if self.squares is None else {**means, "rmse_mv": (self.squares / count) ** 0.5}


def apart(model: MultiTaskModel, batch: Batch) -> float:
    """The contrastive loss with the two halves of each record as its views."""
    half = batch.signals.shape[-1] // 2
    views = torch.stack([batch.signals[..., :half], batch.signals[..., half : 2 * half]], dim=1).flatten(0, 1)
    output = model(views, None, ("contrastive",))
    return float(loss_of("contrastive", Seen(model, output, batch, 1.0), PLAIN))


def hide(stage: Stage, batch: Batch, fs: float, generator: torch.Generator) -> Batch:
    """The same as in training, in every record; where the stage hides nothing, all samples are judged."""
    n_records, _, n_samples = batch.signals.shape
    hides = stage.masking.hides
    masking = stage.masking.model_copy(update={"share": float(hides)})
    hidden = draw_hidden((n_records, n_samples), fs, masking, generator)
    return batch._replace(hidden=hidden, scored=(hidden if hides else torch.ones_like(hidden)).float())
