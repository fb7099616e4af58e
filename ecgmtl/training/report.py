"""The report on a finished run: validation figures and plots, the course of training, the model for MLflow."""

import logging
import tempfile
from pathlib import Path

import torch

from data_prep.leads import STANDARD_LEADS
from ecgmtl import __version__, checkpoint
from ecgmtl.checkpoint import MODEL, Checkpoint
from ecgmtl.data.split import Split
from ecgmtl.evaluation.evaluate import evaluate
from ecgmtl.evaluation.protocols import find_protocol
from ecgmtl.evaluation.report import write_evaluation
from ecgmtl.inference import export
from ecgmtl.inference.export import ExportError
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import Tracker
from ecgmtl.training.curves import training_curves
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.model_card import Figure, Label, ModelCard, TrainingData, render_model_card

log = logging.getLogger("ecgmtl")

LOGGED_WEIGHTS = "logged weights"
"""Entry of run.json with the SHA-256 of the weights whose model MLflow has."""
N_COMPARED = 64
"""Records on which an exported classifier is compared with its checkpoint."""


def report_run(
    stored: Checkpoint, train: Split, validation: Split, folder: RunFolder, tracker: Tracker
) -> dict[str, float]:
    """Write the report into the run's folder and hand it to the tracker; give the headline figures."""
    evaluation = evaluate(stored, validation, find_protocol("whole"))
    write_evaluation(evaluation, folder.path / "validation", f"{folder.path.name} on the validation split")
    curves = folder.path / "training.png"
    training_curves(folder.read_history()).savefig(curves, dpi=110)
    card = folder.path / "model_card.md"
    summary = evaluation.summary()
    card.write_text(render_model_card(describe(stored, summary, (train, validation), folder)), encoding="utf-8")
    log_evaluation(tracker, summary, folder.path / "validation", "validation")
    for path in (curves, card):
        tracker.log_artifact(path)
    weights = checkpoint.describe(folder.path / MODEL).weights_sha256
    is_new = folder.tracked(LOGGED_WEIGHTS) != weights  # a finished run that is resumed has logged its model already
    if evaluation.classification is not None and tracker.active_run_id is not None and is_new:
        log_classifier(stored, validation, tracker, summary)
        folder.note_tracked(LOGGED_WEIGHTS, weights)
    return summary


def headline(summary: dict[str, float]) -> str:
    """Say in a line how the model does on the validation split, with 95 % intervals over patients."""
    parts = []
    if "macro_auroc" in summary:
        low, high = (summary.get(f"macro_auroc_{end}", float("nan")) for end in ("low", "high"))
        parts.append(f"macro AUROC {summary['macro_auroc']:.4f} (95 % interval {low:.4f} to {high:.4f})")
    if "reconstruction_rmse_mv" in summary:
        parts.append(f"RMSE of masked samples {summary['reconstruction_rmse_mv']:.4f} mV")
    return f"validation split, {summary['n_records']:.0f} records: {', '.join(parts) or 'no figure'}"


def log_evaluation(tracker: Tracker, summary: dict[str, float], folder: Path, name: str) -> None:
    """Log figures as `final <name> …`, and the report's files under the folder's name."""
    tracker.log_final({names.final(name, key): value for key, value in summary.items()})
    tracker.log_artifact(folder, name)


def log_classifier(stored: Checkpoint, split: Split, tracker: Tracker, summary: dict[str, float]) -> None:
    """The classifier as an MLflow model, compared with the checkpoint like any export."""
    signals = split.batch(torch.arange(min(N_COMPARED, len(split)), device=split.device)).signals.cpu()
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "classifier"
        try:
            export.export(stored, "mlflow", model, signals)
        except ExportError as error:
            log.warning("The model was not logged to MLflow: %s", error)
            return
        tracker.log_model(
            model, "classifier", {names.final("validation", names.MACRO_AUROC): summary[names.MACRO_AUROC]}
        )


def describe(
    stored: Checkpoint, summary: dict[str, float], splits: tuple[Split, Split], folder: RunFolder
) -> ModelCard:
    """The card of this run's model; figures that have an interval, and those of the reconstruction."""
    config, calibration, (train, validation) = stored.config, stored.calibration, splits
    values = zip(stored.label_names, calibration.thresholds, calibration.slope, calibration.intercept, strict=True)
    n_parameters = sum(parameter.numel() for parameter in stored.model.parameters())
    trees = (
        "" if stored.model.forest is None else "; and a forest beside it, which reads times and voltages of its waves"
    )
    parts = (name for name in summary if f"{name}_low" in summary or name.startswith("reconstruction_"))
    shown = [name for name in parts if not name.endswith("n_samples")]
    n_labelled = int(train.labelled.sum())
    stages = (f"{s.name}: {', '.join(s.losses)}; {s.weighting.kind} weighting" for s in stored.stages_done)
    return ModelCard(
        name=folder.path.name,
        version=__version__,
        architecture=f"{config.encoder.kind}, {config.sharing.description}, "
        f"{n_parameters / 1e6:.1f} M parameters with all heads{trees}",
        learnt=tasks_learnt(stored),
        file=MODEL,
        label_set=stored.label_set,
        labels=tuple(Label(name=n, threshold=t, slope=s, intercept=i) for n, t, s, i in values)
        if stored.classifies
        else (),
        data=TrainingData(
            name=f"{folder.data.parent.name}/{folder.data.name}",
            sha256=stored.provenance["data_sha256"],
            n_records={"train": len(train), "of them with labels": n_labelled, "validation": len(validation)},
        ),
        stages=tuple(stages),
        figures=tuple(
            Figure(name=n, value=summary[n], low=summary.get(f"{n}_low"), high=summary.get(f"{n}_high")) for n in shown
        ),
        figures_on=f"validation split, {len(validation)} records; epoch, calibration and thresholds were chosen on it, "
        "so they flatter the model",
        leads=STANDARD_LEADS,
        fs=float(config.preprocess.fs),
        seconds=config.preprocess.seconds,
        code=stored.provenance["code_sha256"],
    )


def tasks_learnt(stored: Checkpoint) -> tuple[str, ...]:
    """For the card, what the model was trained to do."""
    tasks = {
        f"to read the label set `{stored.label_set}` from an ECG": stored.classifies,
        "to redraw its parts": any(stage.reconstructs for stage in stored.stages_done),
    }
    return tuple(task for task, learnt in tasks.items() if learnt) or ("on signals alone",)
