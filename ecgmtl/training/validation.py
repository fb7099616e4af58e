"""Figures that are computed after every epoch. The full report is in `evaluation`."""

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.masking import MASK_SEED, sample_mask
from ecgmtl.data.split import Split
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.tasks import LossInput, Task


@torch.inference_mode()
def validate(model: MultiTaskModel, stage: Stage, split: Split) -> dict[str, float]:
    """Compute each task's mean plain loss and figures over a split, always in float32.

    Each task is compared with its own targets and plain loss, whatever loss the stage trains it on. The teacher of
    latent prediction is the model itself.
    """
    model.eval()
    generator = torch.Generator(split.device).manual_seed(MASK_SEED)
    tallies = {task.name: Tally(task) for task in (task.validated_as() for task in stage.tasks)}
    by_view: defaultdict[str, list[Tally]] = defaultdict(list)
    for tally in tallies.values():
        by_view[tally.task.view].append(tally)
    for batch in split.in_order():
        for view, tallied in by_view.items():
            loss_input = run_model(
                model, [tally.task for tally in tallied], VIEWS[view](stage, batch, split.fs, generator)
            )
            for tally in tallied:
                tally.add(loss_input)
    figures: dict[str, float] = {}
    for tally in tallies.values():
        figures |= tally.figures()
    return figures


def run_model(model: MultiTaskModel, tasks: list[Task], batch: Batch) -> LossInput:
    """Return the model's outputs and the batch, from which the tasks of one view compute their losses."""
    heads = tuple(dict.fromkeys(task.reads for task in tasks))
    for task in tasks:
        if "mean_encoder" in task.needs:
            batch = batch._replace(teacher_features=model.features(batch.signals, task.reads, model.encoder))
    needs_clean = any("clean_view" in task.needs for task in tasks)
    clean = model(batch.signals, None, heads) if needs_clean else None
    return LossInput(model, model(batch.signals, batch.mask, heads), batch, 1.0, clean)


@dataclass
class Tally:
    """Sums over a split, from which one task's figures are computed."""

    task: Task
    sums: dict[str, float] = field(default_factory=dict)
    """Sum of each figure."""
    count: float = 0.0
    answers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Predictions and truth, a pair for each batch, where a figure needs those of all records."""

    def add(self, inputs: LossInput) -> None:
        """Add the figures of a batch, weighted by the elements over which the loss is a mean."""
        count = self.task.count(inputs)
        batch_sums = {"loss": count * float(self.task.loss(inputs)), **self.task.measure(inputs)}
        for name, value in batch_sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += count
        answers = self.task.answers(inputs)
        if answers is not None:
            self.answers.append(answers)

    def figures(self) -> dict[str, float]:
        means = {name: total / max(self.count, 1.0) for name, total in self.sums.items()}
        if not self.answers:
            return self.task.figures(means, None)
        predicted, truth = (torch.cat(parts).cpu().numpy() for parts in zip(*self.answers, strict=True))
        return self.task.figures(means, (predicted, truth))


def whole(_stage: Stage, batch: Batch, _fs: float, _generator: torch.Generator) -> Batch:
    """Return the batch as it is."""
    return batch


def halves(_stage: Stage, batch: Batch, _fs: float, _generator: torch.Generator) -> Batch:
    """Return the two halves of each record as its views."""
    half = batch.signals.shape[-1] // 2
    views = torch.stack([batch.signals[..., :half], batch.signals[..., half : 2 * half]], dim=1).flatten(0, 1)
    return batch._replace(signals=views)


def masked(stage: Stage, batch: Batch, fs: float, generator: torch.Generator) -> Batch:
    """Mask every record as training does; where the stage masks nothing, all samples are scored."""
    n_records, _, n_samples = batch.signals.shape
    masks = stage.masking.masks
    masking = stage.masking.model_copy(update={"share": float(masks)})
    mask = sample_mask((n_records, n_samples), fs, masking, generator)
    return batch._replace(mask=mask, scored=(mask if masks else torch.ones_like(mask)).float())


VIEWS = {"whole": whole, "halves": halves, "masked": masked}
