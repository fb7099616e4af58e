"""Folders of simulated comparisons, with effects that are known."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.special import expit

from data_prep.preprocess import Preprocess
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl.comparison import report
from ecgmtl.comparison.results import Point, RunResult, Tried, result_path, write_result
from ecgmtl.comparison.truth import Truth, write_truth
from ecgmtl.metrics.ranking import macro_auroc

N_RECORDS, N_LABELS, N_POINTS, STEPS = 120, 3, 20, 50
ARMS = {
    "single": ("single task", 0.0, 1.0, 0),
    "single-long": ("single task", 0.01, 1.0, 0),
    "fixed_0.1": ("fixed weight", 0.02, 1.1, 0),
    "fixed_1": ("fixed weight", 0.03, 1.3, 0),
    "fixed_10": ("fixed weight", -0.08, 0.7, 0),
    "uncertainty": ("learned weights", 0.025, 1.2, 0),
    "pretrain": ("stages", 0.05, 1.6, 5),
    "shuffled": ("controls", -0.01, 0.95, 0),
}
"""Group, effect on the final score, speed of learning relative to the reference, epochs of pretraining."""

ARM_FILES = {
    "_base": """
encoder: {kind: cnn, widths: [8, 8, 8]}
decoder: {width: 8}
precision: fp32
stages:
  - name: main
    trains: [encoder, decoder, classifier]
    losses: [reconstruction, classification]
    masking: {share: 0.5}
    augment: {crop_seconds: 2.5, shift: true}
    batch_size: 16
    epochs: 2
    diagnostics: {every: 5}
""",
    "single": "about: Alone.\nset: {stages.0.trains: [encoder, classifier], stages.0.losses: [classification]}",
    "joint": "about: Both.\nset: {stages.0.weighting: {kind: uncertainty}}",
    "staged": """
about: One after the other.
set:
  stages:
    - {name: pretrain, trains: [encoder, decoder], losses: [reconstruction], batch_size: 16, epochs: 1}
    - {name: finetune, trains: [encoder, classifier], losses: [classification], batch_size: 16, epochs: 1}
""",
    "wild": "about: Too fast.\nset: {stages.0.optimizer: {algorithm: sgd, lr: 1.0e+30, clip: null}}",
}
"""Small arms of a comparison, as YAML by their names."""


def make_truth(seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((N_RECORDS, N_LABELS)) < 0.35
    return Truth(labels, rng.integers(0, 100, N_RECORDS), ("NORM", "MI", "STTC"))


def make_folds(n_folds=9, per_fold=60, seed=0):
    """Return a truth with folds of as many patients, each of one record."""
    rng = np.random.default_rng(seed)
    n = n_folds * per_fold
    folds = np.repeat(np.arange(1, n_folds + 1), per_fold)
    names = tuple(f"record {number}" for number in range(n))
    return Truth(rng.random((n, N_LABELS)) < 0.35, np.arange(n), ("NORM", "MI", "STTC"), folds, names)


def make_fold_run(arm, seed, fold, truth):
    """Return a run on one fold, with logits on a scale of its own."""
    part = truth.of_fold(fold)
    run = make_run(arm, 1000 * seed + fold, part)
    logits = (1 + fold / 5) * np.log(run.scores / (1 - run.scores)) + fold / 3
    changes = {"seed": seed, "fold": fold, "logits": logits.tolist(), "probabilities": (), "tuning": ()}
    return RunResult.model_validate(run.model_dump() | changes)


def make_run(arm, seed, truth=None, n_points=N_POINTS):
    truth = truth or make_truth()
    group, effect, speed, pretraining = ARMS[arm]
    paired, rng = np.random.default_rng(seed), np.random.default_rng([seed, *arm.encode()])
    shared = paired.normal(0, 1, truth.labels.shape) + paired.normal(0, 0.1)
    evidence = shared + rng.normal(0, 0.3, truth.labels.shape)
    logits = evidence + (1.6 + effect / 0.15) * truth.labels
    n_points = n_points * (2 if arm == "single-long" else 1)
    curve = [make_point(place, n_points, speed, effect, pretraining, rng) for place in range(1, n_points + 1)]
    return RunResult(
        arm=arm,
        seed=seed,
        about=f"{arm}: what it does",
        group=group,
        is_control=group == "controls",
        curve=tuple(curve),
        macro_auroc=macro_auroc(logits, truth.labels),
        reconstruction={} if "single" in arm else {"rmse_mv": 0.1 + 0.01 * seed, "pearson_r": 0.9},
        diagnostics={} if "single" in arm else {"gradient_cosine": 0.05 - effect, "conflict_rate": 0.45},
        curvature={"hessian_trace": (9.0, 7.0 + seed, 5.0 - effect), "ntk_centered_alignment": (0.1, 0.2, 0.3)},
        mean_weights={"classification": 1.0} | ({} if "single" in arm else {"reconstruction": 0.3}),
        tuning=tuple(Tried(settings={"lr": 10.0**-k}, score=0.85 + effect - 0.01 * k) for k in range(4)),
        probabilities=expit(logits - 1),
    )


def make_point(place, n_points, speed, effect, pretraining, rng):
    step = place * STEPS
    counts = {"step": step, "samples_seen": 32 * step, "encoder_passes": step * 1.5, "seconds": 0.05 * step * speed}
    if place <= pretraining:
        return Point(**counts, macro_auroc=None, loss=None, train_loss=None)
    learned = 1 - np.exp(-speed * (place - pretraining) / 4)
    noise = rng.normal(0, 0.006)
    return Point(
        **counts,
        macro_auroc=float(0.5 + (0.36 + effect) * learned + noise),
        loss=float(0.62 - (0.25 + effect) * learned - noise),
        train_loss=float(0.6 - (0.28 + effect) * learned),
    )


def write_comparison(folder, arms=ARMS, n_seeds=3):
    truth = make_truth()
    write_truth(folder, truth)
    for arm in arms:
        for seed in range(n_seeds):
            write_result(result_path(folder, arm, seed), make_run(arm, seed, truth))


def write_folds(folder, arms=ARMS, n_folds=9, n_seeds=2):
    truth = make_folds(n_folds)
    write_truth(folder, truth)
    for arm in arms:
        for fold in range(1, n_folds + 1):
            for seed in range(n_seeds):
                write_result(result_path(folder, arm, seed, fold), make_fold_run(arm, seed, fold, truth))


@contextmanager
def without_plots():
    """Put empty plots in place of those of a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "plot", lambda *_: {name: Figure((1, 1)) for name in report.CAPTIONS})
        yield


@contextmanager
def arms_beside_data(place, files):
    """Work in a folder with these arms and prepared artificial ECGs."""
    write_ptbxl(place / "records", 100, seed=0)
    prepare(place / "records", place / "store", Preprocess(), "superdiagnostic")
    (place / "arms").mkdir()
    for name, text in files.items():
        (place / "arms" / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(os, "cpu_count", lambda: 1)  # with more threads, sums differ in their last digits
        yield place
