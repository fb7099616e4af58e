"""A checkpoint and a split: every figure with its interval, tables and plots."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch
from jaxtyping import Float64

from data_prep.errors import UserError
from data_prep.lead_set import LeadSet
from ecgmtl import checkpoint as checkpoints
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.masking import MASK_SEED
from ecgmtl.data.split import Split, SplitName, load_split, open_for
from ecgmtl.device import pick_device
from ecgmtl.evaluation.classification import Answers, report_classification
from ecgmtl.evaluation.given_leads import HALVES, report_given_leads, st_samples
from ecgmtl.evaluation.protocols import Protocol, find_protocol
from ecgmtl.evaluation.reconstruction import report_reconstruction
from ecgmtl.evaluation.report import Evaluation, write_evaluation
from ecgmtl.evaluation.stress import N_PASSES, Ranker, report_stress
from ecgmtl.model.network import MultiTaskModel

"""The same samples of a record are hidden in every evaluation, so that models are compared on the same ones."""

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""


class EvaluationError(UserError):
    """A model and data that do not go together, or a report that cannot be written."""


@dataclass(frozen=True)
class Further:
    """What is measured beyond the figures of every evaluation; it takes longer than they do."""

    leads: LeadSet | None = None
    """How well the others are drawn from these."""
    stress: bool = False
    """What is lost under each perturbation."""


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
    kept = choose_records(checkpoint, split, protocol)
    classifies, maskings = checkpoint.classifies, checkpoint.maskings
    n_passes = classifies + bool(maskings)
    advance = counter(progress, len(kept) * n_passes + n_bootstrap * classifies)

    model = deepcopy(checkpoint.model).eval().to(kept.device)
    classification = reconstruction = None
    if classifies:
        answers = answer(checkpoint, kept, infer_logits(model, kept, protocol, batch_size, advance))
        classification = report_classification(answers, n_bootstrap, seed, advance)
    if maskings:
        reconstruction = report_reconstruction(model, kept, maskings[-1], MASK_SEED, batch_size, advance)
    return Evaluation(
        protocol,
        checkpoint.label_set,
        checkpoint.label_names,
        kept.names,
        kept.patients,
        classification,
        reconstruction,
        checkpoint.provenance,
    )


def evaluate_further(
    evaluation: Evaluation,
    checkpoint: Checkpoint,
    split: Split,
    further: Further,
    *,
    n_bootstrap: int = 1000,
    progress: Progress | None = None,
) -> Evaluation:
    """The same evaluation with what was asked for beyond it.

    Raises:
        EvaluationError: the model never learnt the task that is asked about.
    """
    kept = choose_records(checkpoint, split, evaluation.protocol)
    model = deepcopy(checkpoint.model).eval().to(kept.device)
    if further.leads is not None:
        if not checkpoint.maskings:
            raise EvaluationError(
                "the model never learnt to reconstruct; there is nothing to measure from given leads."
            )
        advance = counter(progress, (2 + len(HALVES)) * len(kept))
        st = st_samples(kept, advance)
        found = report_given_leads(model, kept, further.leads, checkpoint.maskings, st, MASK_SEED, advance)
        evaluation = replace(evaluation, given_leads=found)
    if further.stress:
        if not checkpoint.classifies:
            raise EvaluationError("the model never learnt to classify; it has no AUROC to lose under stress.")
        advance = counter(progress, N_PASSES * (len(kept) + n_bootstrap))
        preprocess = checkpoint.config.preprocess
        rank = Ranker(model, kept, evaluation.protocol, preprocess, n_bootstrap, 0, advance)
        evaluation = replace(evaluation, stress=report_stress(rank))
    return evaluation


def evaluate_file(
    path: Path,
    data: Path,
    split: str,
    protocol: str,
    out: Path | None = None,
    progress: Progress | None = None,
    further: Further = Further(),  # noqa: B008, it is frozen
) -> tuple[Evaluation, Path]:
    """Measure a model's file on a prepared folder, write the report, and give what was found and the report's folder.

    Without `out` the folder is `<split>-<protocol>` beside the model.
    """
    if split not in get_args(SplitName):
        raise EvaluationError(f"no split '{split}'; there is {', '.join(get_args(SplitName))}.")
    chosen, model = find_protocol(protocol), checkpoints.load(path)
    store = open_for(data, model.config.preprocess, model.config.validation_fold)
    records = load_split(store, cast("SplitName", split), model.label_set, device=pick_device())
    evaluation = evaluate(model, records, chosen, progress=progress)
    if further != Further():
        evaluation = evaluate_further(evaluation, model, records, further, progress=progress)
    folder = out or path.parent / f"{split}-{protocol}"
    try:
        write_evaluation(evaluation, folder, f"{path} on the {split} split of {data}")
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot be written ({error.strerror}); choose another --out.") from error
    return evaluation, folder


def choose_records(checkpoint: Checkpoint, split: Split, protocol: Protocol) -> Split:
    """The records that count under the protocol."""
    if split.label_names != checkpoint.label_names:
        raise EvaluationError(
            f"the model reads {', '.join(checkpoint.label_names)}; the data has {', '.join(split.label_names)}."
        )
    if protocol.unlabelled == "drop":
        split = split.select(split.labels.sum(dim=1).cpu().numpy() > 0)
    if not len(split):
        dropped = " with a label of the set; protocol 'whole' keeps the others" * (protocol.unlabelled == "drop")
        raise EvaluationError(f"the split has no record{dropped}.")
    return split


def counter(progress: Progress | None, n_steps: int) -> Callable[[int], None]:
    """Adds up what is done and tells it."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress(done, n_steps)

    return advance


@torch.inference_mode()
def infer_logits(
    model: MultiTaskModel, split: Split, protocol: Protocol, batch_size: int, advance: Callable[[int], None]
) -> Float64[np.ndarray, "record label"]:
    parts = []
    for batch in split.in_order(batch_size):
        parts.append(protocol.logits(model, batch.signals, split.fs).cpu())
        advance(len(parts[-1]))
    logits: Float64[np.ndarray, "record label"] = torch.cat(parts).numpy()
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise EvaluationError(
            f"the model's output for {len(bad)} of {len(logits)} records is not a number, the first is "
            f"{split.names[bad[0]]}; the training has probably diverged."
        )
    return logits


def answer(checkpoint: Checkpoint, split: Split, logits: Float64[np.ndarray, "record label"]) -> Answers:
    """Calibrate the logits, decide, and lay the truth beside it."""
    probabilities = checkpoint.calibration.probabilities(logits)
    return Answers(
        logits=logits,
        probabilities=probabilities,
        predicted=checkpoint.calibration.predicted(probabilities),
        truth=split.labels.cpu().numpy() > 0,
        patients=split.patients,
        label_names=checkpoint.label_names,
        thresholds=checkpoint.calibration.thresholds,
    )
