"""Evaluation of a checkpoint on a split."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
from jaxtyping import Float64

from data_prep.errors import UserError
from data_prep.lead_set import LeadSet
from data_prep.progress import ProgressCallback
from ecgmtl import checkpoint as checkpoints
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.masking import MASK_SEED
from ecgmtl.data.split import AT_A_TIME, Split, SplitName, load_split, open_for
from ecgmtl.device import pick_device
from ecgmtl.evaluation.classification import Answers, report_classification
from ecgmtl.evaluation.given_leads import HALVES, report_given_leads, st_samples
from ecgmtl.evaluation.protocols import Protocol, find_protocol, infer_logits
from ecgmtl.evaluation.reconstruction import report_reconstruction
from ecgmtl.evaluation.report import Evaluation, write_evaluation
from ecgmtl.evaluation.stress import N_PASSES, Ranker, report_stress
from ecgmtl.metrics.calibration import Decisions, cross_fit
from ecgmtl.metrics.typicality import Typicality, Unlike, count_unlike

FITTED_UNDER = find_protocol("whole")
"""Protocol under which a training fits calibration and thresholds."""


class EvaluationError(UserError):
    """A model and data that do not go together, or a report that cannot be written."""


@dataclass(frozen=True)
class Further:
    """Optional measurements, which take longer than the metrics of every evaluation."""

    leads: LeadSet | None = None
    """Leads from which the others are reconstructed."""
    stress: bool = False
    """Whether the loss under each perturbation is measured."""


def evaluate(
    checkpoint: Checkpoint,
    split: Split,
    protocol: Protocol,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = AT_A_TIME,
    progress: ProgressCallback | None = None,
    cross_fitted: bool = False,
) -> Evaluation:
    """Evaluate the trained tasks of a model, in float32, on the device of the split.

    cross_fitted: whether the split is the one that the model's calibration was fitted on under this protocol. Figures
    that depend on thresholds or calibration are then cross-fitted.

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
        logits = infer_logits(model, kept, protocol, batch_size, advance)
        require_finite(logits, kept)
        answers = collect_answers(checkpoint, kept, logits, cross_fitted=cross_fitted)
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
        unlike=find_unlike(checkpoint.typicality, kept),
    )


def find_unlike(typicality: Typicality | None, split: Split) -> Unlike | None:
    """Count the records unlike the training records. None for a model that cannot detect them."""
    signals = (batch.signals.cpu().numpy() for batch in split.in_order())
    return None if typicality is None else count_unlike(typicality, signals)


def evaluate_further(
    evaluation: Evaluation,
    checkpoint: Checkpoint,
    split: Split,
    further: Further,
    *,
    n_bootstrap: int = 1000,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Return the evaluation with further measurements.

    Raises:
        EvaluationError: the model was not trained on the task that is measured.
    """
    kept = choose_records(checkpoint, split, evaluation.protocol)
    model = deepcopy(checkpoint.model).eval().to(kept.device)
    if further.leads is not None:
        if not checkpoint.maskings:
            raise EvaluationError(
                "the model was not trained to reconstruct, so --from has nothing to measure; leave it out, or evaluate "
                "a model whose stages trained the decoder."
            )
        advance = counter(progress, (2 + len(HALVES)) * len(kept))
        st = st_samples(kept, advance)
        given_leads = report_given_leads(model, kept, further.leads, checkpoint.maskings, st, MASK_SEED, advance)
        evaluation = replace(evaluation, given_leads=given_leads)
    if further.stress:
        if not checkpoint.classifies:
            raise EvaluationError(
                "the model was not trained to classify, so --stress has nothing to measure; leave it out, or evaluate "
                "a model whose stages trained the classifier."
            )
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
    progress: ProgressCallback | None = None,
    further: Further = Further(),  # noqa: B008, it is frozen
) -> tuple[Evaluation, Path]:
    """Evaluate a model's file on a prepared folder, write the report, and return the evaluation and its folder.

    Without `out` the folder is `<split>-<protocol>` beside the model.
    """
    if split not in get_args(SplitName):
        raise EvaluationError(f"no split '{split}'; choose one of {', '.join(get_args(SplitName))}.")
    chosen, model = find_protocol(protocol), checkpoints.load(path)
    store = open_for(data, model.config.preprocess, model.config.validation_fold)
    records = load_split(store, cast("SplitName", split), model.label_set, device=pick_device())
    fitted_here = split == "validation" and chosen == FITTED_UNDER and model.provenance["data_sha256"] == store.sha256
    cross_fitted = fitted_here and model.config.validation_share is None
    evaluation = evaluate(model, records, chosen, progress=progress, cross_fitted=cross_fitted)
    if further != Further():
        evaluation = evaluate_further(evaluation, model, records, further, progress=progress)
    folder = out or path.parent / f"{split}-{protocol}"
    try:
        write_evaluation(evaluation, folder, f"{path} on the {split} split of {data}")
    except OSError as error:
        raise EvaluationError(f"{folder}: cannot be written ({error.strerror}); choose another --out.") from error
    return evaluation, folder


def choose_records(checkpoint: Checkpoint, split: Split, protocol: Protocol) -> Split:
    """Return the records that count under the protocol."""
    if difference := checkpoint.difference_from(split.label_names):
        raise EvaluationError(difference)
    if protocol.unlabeled == "drop":
        split = split.select(split.labels.sum(dim=1).cpu().numpy() > 0)
    if not len(split):
        dropped = " with a label of the set; protocol 'whole' keeps the others" * (protocol.unlabeled == "drop")
        raise EvaluationError(f"the split has no record{dropped}.")
    return split


def counter(progress: ProgressCallback | None, n_steps: int) -> Callable[[int], None]:
    """Return a function that adds up the steps done and reports them."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress:
            progress(done, n_steps)

    return advance


def require_finite(logits: Float64[np.ndarray, "record label"], split: Split) -> None:
    """Raise EvaluationError if a logit is not a finite number."""
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise EvaluationError(
            f"the model's output for {len(bad)} of {len(logits)} records is not a number, the first is "
            f"{split.names[bad[0]]}; the training has probably diverged."
        )


def collect_answers(
    checkpoint: Checkpoint, split: Split, logits: Float64[np.ndarray, "record label"], *, cross_fitted: bool
) -> Answers:
    """Calibrate the logits, decide which labels are predicted, and add the truth."""
    truth = split.labels.cpu().numpy() > 0
    probabilities = checkpoint.calibration.probabilities(logits)
    decisions = Decisions(probabilities, checkpoint.calibration.predicted(probabilities))
    if cross_fitted:
        decisions = cross_fit(logits, truth, split.patients)
    return Answers(
        logits=logits,
        probabilities=probabilities,
        evaluated=decisions.probabilities,
        predicted=decisions.predicted,
        truth=truth,
        patients=split.patients,
        label_names=checkpoint.label_names,
        thresholds=checkpoint.calibration.thresholds,
        cross_fitted=cross_fitted,
    )
