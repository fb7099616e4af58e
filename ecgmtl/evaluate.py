"""A checkpoint and a split: every figure with its interval, tables and plots."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import expit

from ecgmtl import checkpoint as checkpoints
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.classification_report import Answers, report_classification
from ecgmtl.config import Config
from ecgmtl.data import Split, SplitName, load_split, open_for
from ecgmtl.masking import MaskingSettings
from ecgmtl.model import MultiTaskModel
from ecgmtl.precision import pick_device
from ecgmtl.protocols import Protocol, find_protocol
from ecgmtl.reconstruction_report import report_reconstruction
from ecgmtl.report import Evaluation, as_text, write_evaluation
from ecgmtl.stages import Stage

MASK_SEED = 9
MAX_ROWS = 30
"""Labels that are still listed on a terminal."""

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


class EvaluationError(ValueError):
    """A model and data that do not go together, or a report that cannot be written."""


def evaluate(
    checkpoint: Checkpoint,
    split: Split,
    protocol: Protocol,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model, in float32, on the device that the split lies on; its tasks that were trained, and no other.

    Raises:
        EvaluationError: there is no record, the labels are not the model's, or its output is not finite.
    """
    split = choose_records(checkpoint, split, protocol)
    stages = stages_done(checkpoint)
    classifies, masking = any(stage.classifies for stage in stages), masking_of(stages)
    n_steps = len(split) * (classifies + (masking is not None)) + n_bootstrap * classifies
    advance = counter(progress, n_steps)

    model = deepcopy(checkpoint.model).eval().to(split.device)
    logits = infer_logits(model, split, protocol, batch_size, advance) if classifies else None
    answers = answer(checkpoint, split, np.zeros(split.labels.shape) if logits is None else logits)
    drawn = report_reconstruction(model, split, masking, MASK_SEED, batch_size, advance) if masking else None
    begun = advance(0)
    report = (
        report_classification(answers, n_bootstrap, seed, lambda done, _: progress and progress(begun + done, n_steps))
        if classifies
        else None
    )
    return Evaluation(
        protocol=protocol,
        label_set=checkpoint.label_set,
        names=split.names,
        answers=answers,
        logits=logits,
        classification=report,
        reconstruction=drawn,
        provenance=checkpoint.provenance,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
