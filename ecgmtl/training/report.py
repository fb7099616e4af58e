"""Report on a finished run: validation scores and plots, training curves, the model, and later evaluations of it."""

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from data_prep.leads import STANDARD_LEADS
from data_prep.store.open import open_store
from data_prep.words import counted
from ecgmtl import __version__, checkpoint
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.data.split import Split
from ecgmtl.evaluation.evaluate import FITTED_UNDER, evaluate
from ecgmtl.evaluation.report import N_UNDEFINED, Evaluation, write_evaluation
from ecgmtl.evaluation.text import FIGURES, HEADLINE
from ecgmtl.export.format import ExportError, ExportFormat
from ecgmtl.export.write import N_COMPARED, export
from ecgmtl.inference.run_score import describe_score
from ecgmtl.run_files import CARD, MODEL, VALIDATION
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import EXPERIMENT, Tracker, has_store, open_tracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.model_card import Figure, Label, ModelCard, TrainingData, render_description, render_model_card

log = logging.getLogger("ecgmtl")

LOGGED_WEIGHTS = "logged weights"
"""Entry of run.json with the SHA-256 of the weights whose model is logged in MLflow."""
SCORE_NAMES = HEADLINE | {f"reconstruction_{key}": f"{title} of masked samples" for key, (title, _) in FIGURES.items()}
"""Names of scores in words, as in the report of an evaluation."""


def report_run(
    stored: Checkpoint, train: Split, validation: Split, folder: RunFolder, tracker: Tracker
) -> dict[str, float]:
    """Write the report into the run's folder, log it, and return the headline scores."""
    from ecgmtl.training.curves import training_curves  # here, because matplotlib takes half a second

    evaluation = evaluate(stored, validation, FITTED_UNDER, cross_fitted=True)
    write_evaluation(evaluation, folder.path / VALIDATION, f"{folder.path.name} on the validation split")
    curves = folder.path / "training.png"
    training_curves(folder.history.read()).savefig(curves, dpi=110)
    summary = evaluation.summary()
    card, card_file = describe(stored, summary, (train, validation), folder), folder.path / CARD
    card_file.write_text(render_model_card(card), encoding="utf-8")
    for path in (curves, card_file):
        tracker.log_artifact(path)
    weights = checkpoint.describe(folder.path / MODEL).weights_sha256
    is_new = folder.tracked(LOGGED_WEIGHTS) != weights  # a finished run that is resumed has logged its model already
    if evaluation.classification is not None and tracker.active_run_id is not None and is_new:
        when_logged = partial(folder.note_tracked, LOGGED_WEIGHTS, weights)
        log_classifier(stored, validation, tracker, card, score_in(summary), when_logged)
    log_evaluation(tracker, summary, folder.path / VALIDATION, "validation")
    return summary


def headline(summary: dict[str, float]) -> str:
    """Return a line with the validation scores, of which the first has its 95 % interval over patients."""
    score, rmse = score_in(summary), summary.get("reconstruction_rmse_mv")
    masked = "" if rmse is None else f"RMSE of masked samples {rmse:.4f} mV"
    if score:
        return f"{score}; {masked}" if masked else score
    return f"{masked or 'no score'} on the validation split, {counted(int(summary['n_records']), 'record')}"


def score_in(summary: dict[str, float]) -> str:
    """Return the score that is stored with the classifier and its exports, in words. Empty if there is none."""
    names = {"value": "macro_auroc", "low": "macro_auroc_low", "high": "macro_auroc_high"}
    estimate = {name: summary[key] for name, key in names.items() if key in summary}
    n_undefined = int(summary.get(N_UNDEFINED, 0))
    return describe_score(estimate, int(summary["n_records"]), n_undefined) if "value" in estimate else ""


def log_evaluation(tracker: Tracker, summary: dict[str, float], folder: Path, name: str) -> None:
    """Log scores as `final <name> …`, and the report's files in a folder of that name."""
    tracker.log_final({names.final(name, key): value for key, value in summary.items()})
    tracker.log_artifact(folder, name)


def log_to_run(evaluation: Evaluation, model: Path, folder: Path, data: Path, split: str) -> None:
    """Add a later evaluation to the MLflow run that trained the `model`. Without such a run nothing is logged.

    `folder` is that of the report, and `data` the prepared folder whose `split` was evaluated.

    Raises:
        TrackingError: MLflow cannot be reached.
        StoreError: the prepared folder cannot be read.
    """
    run_id = evaluation.provenance.get("mlflow_run")
    if not run_id or not has_store():
        return
    tracker = open_tracker(EXPERIMENT)
    with tracker.run(f"{model.parent.name} {folder.name}", tags={}, params={}, resume=run_id):
        tracker.log_input(data.name, open_store(data).sha256, str(data), {split: len(evaluation.names)})
        log_evaluation(tracker, evaluation.summary(), folder, f"{split} {evaluation.protocol.name}")


def log_classifier(
    stored: Checkpoint,
    split: Split,
    tracker: Tracker,
    card: ModelCard,
    score: str,
    when_logged: Callable[[], object],
) -> None:
    """Log the classifier as an MLflow model. It is compared with the checkpoint first, as any export."""
    signals = split.batch(torch.arange(min(N_COMPARED, len(split)), device=split.device)).signals.cpu()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "classifier"
        try:
            export(stored, ExportFormat.MLFLOW, model, signals, score, render_model_card(card))
        except ExportError as error:
            log.warning("The model was not logged to MLflow: %s", error)
            return
        tracker.log_model(model, "classifier", render_description(card), model_params(card), when_logged)


def model_params(card: ModelCard) -> dict[str, str]:
    """Return the parameters that MLflow displays for the model."""
    return {
        "architecture": card.architecture,
        "label_set": card.label_set,
        "labels": ", ".join(label.name for label in card.labels),
        "leads": ", ".join(card.leads),
        "sampling_rate_hz": f"{card.fs:g}",
        "seconds": f"{card.seconds:g}",
        "unit": "mV",
        "data_sha256": card.data.sha256,
    }


def describe(
    stored: Checkpoint, summary: dict[str, float], splits: tuple[Split, Split], folder: RunFolder
) -> ModelCard:
    """Return the card of this run's model, with the scores that have an interval and those of reconstruction."""
    config, (train, validation) = stored.config, splits
    n_labeled = int(train.labeled.sum())
    return ModelCard(
        name=folder.path.name,
        version=__version__,
        architecture=describe_architecture(stored),
        learned=tasks_learned(stored),
        label_set=stored.label_set,
        labels=card_labels(stored),
        data=TrainingData(
            name=folder.data_name,
            sha256=stored.provenance["data_sha256"],
            n_records={"train": len(train), "of these labeled": n_labeled, "validation": len(validation)},
        ),
        stages=tuple(f"{stage.name}: {stage.summary}" for stage in stored.stages_done),
        figures=card_figures(summary),
        figures_on=f"validation split, {counted(len(validation), 'record')}; the epoch was chosen on it, so these "
        f"scores are slightly optimistic{not_scored(int(summary.get(N_UNDEFINED, 0)), len(stored.label_names))}",
        leads=STANDARD_LEADS,
        fs=float(config.preprocess.fs),
        seconds=config.preprocess.seconds,
        code=stored.provenance["code_sha256"],
    )


def describe_architecture(stored: Checkpoint) -> str:
    """Return the encoder, the way of sharing, the size and the trees in words."""
    config, n_parameters = stored.config, sum(parameter.numel() for parameter in stored.model.parameters())
    network = (
        f"{config.encoder.kind}, {config.sharing.description}, {n_parameters / 1e6:.1f} M parameters with all heads"
    )
    if stored.model.forest is None:
        return network
    return f"{network}; with boosted trees beside it, which read times and voltages of the waves"


def card_labels(stored: Checkpoint) -> tuple[Label, ...]:
    """Return the labels with their thresholds and calibration, or none if the model does not classify."""
    if not stored.classifies:
        return ()
    fitted = stored.calibration
    values = zip(stored.label_names, fitted.thresholds, fitted.slope, fitted.intercept, strict=True)
    return tuple(Label(name=n, threshold=t, slope=s, intercept=i) for n, t, s, i in values)


def card_figures(summary: dict[str, float]) -> tuple[Figure, ...]:
    """Return the scores that have an interval, and those of reconstruction."""
    parts = (name for name in summary if f"{name}_low" in summary or name.startswith("reconstruction_"))
    shown = [name for name in parts if not name.endswith("n_samples")]
    return tuple(
        Figure(name=SCORE_NAMES.get(n, n), value=summary[n], low=summary.get(f"{n}_low"), high=summary.get(f"{n}_high"))
        for n in shown
    )


def not_scored(n_undefined: int, n_labels: int) -> str:
    """Return a sentence on labels that the scores leave out, which follows another one; empty if there are none."""
    if not n_undefined:
        return ""
    return f". They leave out labels that all or none of these records have ({n_undefined} of {n_labels})"


def tasks_learned(stored: Checkpoint) -> tuple[str, ...]:
    """Return the model's tasks in words, for its card."""
    tasks = {
        f"to predict the label set `{stored.label_set}` from an ECG": stored.classifies,
        "to reconstruct masked parts of an ECG": any(stage.reconstructs for stage in stored.stages_done),
    }
    return tuple(task for task, is_learned in tasks.items() if is_learned) or ("on signals alone",)
