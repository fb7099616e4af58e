"""Targets of a batch beside its labels: features and probabilities from teacher networks."""

from pathlib import Path

import torch
from torch import Tensor

from data_prep.preprocess import Preprocess
from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.device import autocast
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.optimization.optimizer import WeightAverage


class Teaching:
    """Teachers of a stage: the model's own EMA weights for `latent`, trained models for `distillation`."""

    def __init__(
        self, model: MultiTaskModel, average: WeightAverage[MultiTaskModel], stage: Stage, split: Split, config: Config
    ) -> None:
        self.model, self.device, self.precision = model, split.device, config.precision
        self.mean_encoder = average.model.encoder
        self.taught_by_mean = [task for task in stage.tasks if "mean_encoder" in task.needs]
        self.teachers = [load_teacher(Path(path), split, config.preprocess) for path in stage.teachers]

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with its teachers' features and probabilities, where a task learns them."""
        if not self.taught_by_mean and not self.teachers:
            return batch
        if batch.clean is not None:
            batch = batch._replace(clean=self(batch.clean))
        with autocast(self.precision, self.device):
            for task in self.taught_by_mean:
                features = self.model.features(batch.signals, task.reads, self.mean_encoder)
                batch = batch._replace(teacher_features=features.float())
            if self.teachers:
                batch = batch._replace(soft_labels=self.soft_labels(batch))
        return batch

    def soft_labels(self, batch: Batch) -> Tensor:
        """Return the teachers' mean probabilities for the student's own crops and blends (Beyer et al., CVPR 2022).

        The teachers read the signals without the student's masks and noise (noisy student; Xie et al., CVPR 2020).
        """
        predictions = [torch.sigmoid(teacher.classify(batch.signals)) for teacher in self.teachers]
        return torch.stack(predictions).mean(dim=0)


def load_teacher(path: Path, split: Split, preprocess: Preprocess) -> MultiTaskModel:
    """Load a trained model to the split's device.

    Raises:
        CheckpointError: the file is not a checkpoint, or the model does not classify, has other labels, or reads
            signals that were prepared in another way.
    """
    stored = checkpoint.load(path)
    if not stored.classifies:
        raise CheckpointError(f"{path}: was never trained to classify; use another teacher.")
    if stored.label_names != split.label_names:
        known, wanted = ", ".join(stored.label_names), ", ".join(split.label_names)
        raise CheckpointError(f"{path}: predicts {known}, but its student learns {wanted}; use another teacher.")
    for setting in ("fs", "baseline", "band"):
        its, wanted = (getattr(prepared, setting) for prepared in (stored.config.preprocess, preprocess))
        if its != wanted:
            raise CheckpointError(
                f"{path}: its preprocess.{setting} is {its}, but its student's is {wanted}; use another teacher."
            )
    return stored.model.to(split.device).requires_grad_(False)
