"""What the page says of the model: its labels, thresholds and figures in words, its origin and its intended use."""

from typing import Any

from scipy.stats import binomtest

from data_prep.safe_text import printable
from ecgmtl import __version__
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.metrics.calibration import ThresholdFigures
from ecgmtl.training.model_card import INTENDED_USE, NOT_A_DEVICE

MEANINGS = {
    "superdiagnostic": {
        "CD": "conduction disturbance",
        "HYP": "hypertrophy",
        "MI": "myocardial infarction",
        "NORM": "normal ECG",
        "STTC": "ST/T change",
    }
}
"""What labels stand for, by label set: PTB-XL's diagnostic superclasses (Wagner et al. 2020)."""
OPTIMISTIC = (
    "The thresholds were chosen on the same records, as those with the best F1 scores, so expect somewhat less on "
    "others."
)


def facts(metadata: ModelMetadata, model: str) -> dict[str, Any]:
    """Return the facts on a model. `model` is its name as the user gave it."""
    calibration = metadata.calibration
    figures = calibration.figures or (None,) * len(metadata.label_names)
    meanings = MEANINGS.get(metadata.label_set, {})
    rows = zip(metadata.label_names, calibration.thresholds, figures, strict=True)
    return {
        "model": printable(model),
        "label_set": metadata.label_set,
        "labels": [
            {
                "name": name,
                "meaning": meanings.get(name, ""),
                "threshold": threshold,
                **in_words(name, threshold, known),
            }
            for name, threshold, known in rows
        ],
        "figures": overall(calibration.figures),
        "input": f"12 leads, {metadata.preprocess.seconds:g} s at {metadata.preprocess.fs} Hz",
        "provenance": metadata.provenance,
        "notice": NOT_A_DEVICE.replace("*", ""),
        "intended_use": INTENDED_USE,
        "version": __version__,
    }


def in_words(name: str, threshold: float, figures: ThresholdFigures | None) -> dict[str, str]:
    """Return what a label's threshold means, in short and in full."""
    start = f"From a calibrated probability of {threshold:.3f} on, {name} is decided."
    if figures is None:
        return {"short": "", "full": f"{start} The model holds no figures on how often that is right."}
    if not (figures.n_positive and figures.n_negative):
        return {"short": "", "full": f"{start} Too few validation records tell how often that is right."}
    missed = figures.n_negative - figures.true_negatives
    decided = figures.true_positives + missed
    found = percent(figures.true_positives, figures.n_positive)
    passed = percent(figures.true_negatives, figures.n_negative)
    right = f" {percent(figures.true_positives, decided)} of those that it was decided for had it." if decided else ""
    return {
        "short": f"Found in {of_hundred(figures.true_positives, figures.n_positive)} of 100 records with it, "
        f"wrongly in {of_hundred(missed, figures.n_negative)} of 100 without.",
        "full": f"{start} In validation that found {figures.true_positives:,} of the {figures.n_positive:,} records "
        f"with it (sensitivity {found}) and passed {figures.true_negatives:,} of the {figures.n_negative:,} without "
        f"(specificity {passed}).{right}",
    }


def percent(part: int, whole: int) -> str:
    """Return a share with its 95 % interval (Wilson, 1927)."""
    low, high = binomtest(part, whole).proportion_ci(method="wilson")
    return f"{part / whole:.0%} (95 % interval {low:.0%} to {high:.0%})"


def of_hundred(part: int, whole: int) -> str:
    """Return a share as a count of a hundred."""
    return f"{100 * part / whole:.0f}"


def overall(figures: tuple[ThresholdFigures, ...]) -> str:
    """Return the model's figures on all labels in one sentence; empty where it holds none."""
    areas = [label.auroc for label in figures if label.auroc is not None]
    if not areas:
        return ""
    n_records = figures[0].n_positive + figures[0].n_negative
    return f"Macro AUROC {sum(areas) / len(areas):.3f} on {n_records:,} validation records. {OPTIMISTIC}"
