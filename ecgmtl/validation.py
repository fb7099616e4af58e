"""The few figures that are computed after every epoch. The full report is in evaluate."""

import torch
from torch import Tensor

from ecgmtl.data import Split
from ecgmtl.losses import LOSSES
from ecgmtl.masking import draw_hidden
from ecgmtl.metrics import macro_auroc
from ecgmtl.model import Batch, MultiTaskModel
from ecgmtl.stages import Stage

BATCH = 256
MASK_SEED = 9
"""The same samples are hidden after every epoch, so that the curve shows the model and not the draw."""


@torch.inference_mode()
def validate(model: MultiTaskModel, stage: Stage, split: Split) -> dict[str, float]:
    """Mean loss of each task over a split, macro-AUROC, and the error of the reconstruction in mV; always in fp32."""
    model.eval()
    generator = torch.Generator(split.device).manual_seed(MASK_SEED)
    sums: dict[str, float] = dict.fromkeys(stage.losses, 0.0)
    logits: list[Tensor] = []
    squares = n_scored = 0.0
    for batch in split.in_order(BATCH):
        if stage.reconstructs:
            loss, square, count = reconstruct(model, stage, batch, split.fs, generator)
            sums["reconstruction"] += loss * count
            squares, n_scored = squares + square, n_scored + count
        output = model(batch.signals, None, tuple(task for task in stage.losses if task != "reconstruction"))
        for task in stage.losses:
            if task != "reconstruction":
                sums[task] += float(LOSSES[task].loss(model, output, batch)) * len(batch.labels)
        if output.logits is not None:
            logits.append(output.logits)
    figures = {f"loss.{task}": total / len(split) for task, total in sums.items() if task != "reconstruction"}
    if stage.reconstructs:
        figures["loss.reconstruction"] = sums["reconstruction"] / max(n_scored, 1)
        figures["rmse_mv"] = (squares / max(n_scored, 1)) ** 0.5
    if logits:
        figures["macro_auroc"] = macro_auroc(torch.cat(logits).cpu().numpy(), split.labels.cpu().numpy())
    return figures


def reconstruct(
    model: MultiTaskModel, stage: Stage, batch: Batch, fs: float, generator: torch.Generator
) -> tuple[float, float, float]:
    """Loss, sum of squared errors in mV², and the number of samples they are over; of the independent leads.

    These samples are the hidden ones, or all where the stage hides nothing.
    """
    n_records, _, n_samples = batch.signals.shape
    hides = stage.masking.hides
    masking = stage.masking.model_copy(update={"share": float(hides)})  # in every record or, as in training, in none
    hidden = draw_hidden((n_records, n_samples), fs, masking, generator)
    scored = (hidden if hides else torch.ones_like(hidden)).float()
    batch = batch._replace(hidden=hidden, scored=scored)
    output = model(batch.signals, hidden, ("reconstruction",))
    loss = float(LOSSES["reconstruction"].loss(model, output, batch))
    drawn, truth = output.reconstruction, model.standardise.basis(batch.signals)
    error = model.standardise.to_mv(drawn) - model.standardise.to_mv(truth)
    return loss, float((error.square() * scored).sum()), float(scored.sum())
