"""Facts on the model for the page: its labels, thresholds and figures in words, its origin and its intended use."""

from typing import Any

from scipy.stats import binomtest

from data_prep.safe_text import printable, printable_lines
from ecgmtl import __version__
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.metrics.calibration import Calibration, ThresholdFigures
from ecgmtl.training.model_card import INTENDED_USE, NOT_A_DEVICE

PRIVATE = ("command", "data")
"""Entries of a model's origin that name folders of the machine that trained it, which no reader of a page needs."""
OPTIMISTIC = "The thresholds were chosen on the same records, so expect somewhat less on others."
SLIGHTLY_OPTIMISTIC = (
    "Each fifth of the patients was evaluated with thresholds that the others gave. The training chose its epoch on "
    "all of them, so expect slightly less on others."
)


def facts(metadata: ModelMetadata, model: str) -> dict[str, Any]:
    """Return the facts on a model. `model` is its name as the user gave it."""
    calibration = metadata.calibration
    figures = calibration.figures or (None,) * len(metadata.label_names)
    rows = zip(metadata.label_names, calibration.thresholds, figures, strict=True)
    return {
        "model": printable(model),
        "label_set": metadata.label_set,
        "labels": [
            {"name": name, "meaning": metadata.meanings.get(name, ""), "threshold": threshold, **of_threshold(known)}
            for name, threshold, known in rows
        ],
        "figures": metadata.score or overall(calibration.figures),
        "optimistic": optimism(calibration),
        "card": printable_lines(metadata.card),
        "input": f"12 leads, {metadata.preprocess.seconds:g} s at {metadata.preprocess.fs} Hz",
        "provenance": {name: fact for name, fact in metadata.provenance.items() if name not in PRIVATE},
        "notice": NOT_A_DEVICE.replace("*", ""),
        "intended_use": INTENDED_USE,
        "version": __version__,
    }


def optimism(calibration: Calibration) -> str:
    """Return how much better the figures may be than those on other records; empty where the model holds none."""
    if not calibration.figures:
        return ""
    return SLIGHTLY_OPTIMISTIC if calibration.cross_fitted else OPTIMISTIC


def of_threshold(figures: ThresholdFigures | None) -> dict[str, Any]:
    """Return what a label's threshold means in validation: a sentence for cards, and the cells of a table."""
    if figures is None or not (figures.n_positive and figures.n_negative):
        return {"sentence": "", "cells": []}
    wrong = figures.n_negative - figures.true_negatives
    return {
        "sentence": f"Reached by {100 * figures.true_positives / figures.n_positive:.0f} of 100 validation records "
        f"with it and by {100 * wrong / figures.n_negative:.0f} of 100 without.",
        "cells": [
            f"{figures.n_positive:,} of {figures.n_positive + figures.n_negative:,}",
            fraction(figures.true_positives, figures.n_positive),
            fraction(figures.true_negatives, figures.n_negative),
            fraction(figures.true_positives, figures.true_positives + wrong),
            f"{figures.auroc:.3f}",
        ],
    }


def fraction(part: int, whole: int) -> str:
    """Return a fraction in percent with its 95 % interval (Wilson, 1927)."""
    if not whole:
        return "–"
    low, high = binomtest(part, whole).proportion_ci(method="wilson")
    return f"{100 * part / whole:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"


def overall(figures: tuple[ThresholdFigures, ...]) -> str:
    """Return the model's figures on all labels; empty where it holds none."""
    areas = [label.auroc for label in figures if label.auroc is not None]
    if not areas:
        return ""
    n_records = figures[0].n_positive + figures[0].n_negative
    return f"macro AUROC {sum(areas) / len(areas):.3f} on {n_records:,} validation records"
