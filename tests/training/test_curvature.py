"""The curvature diagnostics of a stage: what they measure, when, and that nothing else changes."""

import pytest
import torch
from pydantic import ValidationError

from ecgmtl.comparison.run import curvature
from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.training.curvature import Curvature
from tests.trainings import ENCODERS, JOINT, training

SETTINGS = {"records": 6, "eigenvalues": 2, "iterations": 8, "probes": 2}
DROPOUT = CnnTransformerSettings(stem=(6, 8), width=8, depth=1, n_heads=2, dropout=0.3, drop_path=0.3)
FIGURES = {
    "curvature.hessian_eigenvalue_1", "curvature.hessian_eigenvalue_2", "curvature.hessian_trace",
    "curvature.ntk_eigenvalue_1", "curvature.ntk_eigenvalue_2", "curvature.ntk_trace", "curvature.ntk_rank",
    "curvature.ntk_alignment", "curvature.ntk_centered_alignment",
}  # fmt: skip


def measured(epochs=3, encoder=None, every=0, **changes):
    tree = JOINT.model_dump() | {"epochs": epochs, "augment": AugmentSettings(crop_seconds=0.5)}
    stage = tree | {"diagnostics": {"every": every, "curvature": SETTINGS}} | changes
    return training(Stage.model_validate(stage), encoder=encoder or CnnSettings(widths=(4, 6)))


def test_curvature_is_measured_at_the_start_the_middle_and_the_end(tmp_path):
    reports = []
    run = measured(epochs=4, every=1)
    run.run(reports.append, tmp_path / "state.pt")
    steps = {step: set(probe) & FIGURES for report in reports for step, probe in report.probes.items()}
    assert {step for step, figures in steps.items() if figures} == {0, 2 * run.n_batches - 1, 4 * run.n_batches - 1}
    assert all(figures in (set(), FIGURES) for figures in steps.values())
    assert any(name.startswith("gradient.") for name in reports[0].probes[0])
    lines = [report.as_line() for report in reports]
    assert set(curvature(lines)) == {name.removeprefix("curvature.") for name in FIGURES}
    assert all(len(values) == 3 for values in curvature(lines).values())


def test_early_stopping_measures_the_end_too(tmp_path):
    reports = []
    measured(epochs=30, patience=1, optimizer={"lr": 1e-30}).run(reports.append, tmp_path / "state.pt")
    assert len(reports) == 2
    assert set(reports[-1].probes[reports[-1].last_step]) >= FIGURES


def test_measuring_changes_no_weight_and_no_random_number(tmp_path):
    with_it = measured(encoder=DROPOUT).run(lambda _: None, tmp_path / "a.pt")
    without = measured(encoder=DROPOUT, diagnostics={"every": 0}).run(lambda _: None, tmp_path / "b.pt")
    assert all(torch.equal(with_it[name], without[name]) for name in without)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
def test_every_encoder_can_be_measured(encoder):
    figures = measured(encoder=encoder).probes.curvature.measure(training(JOINT, encoder=encoder).model)
    assert set(figures) == FIGURES
    assert all(value.isfinite() for value in figures.values())
    assert figures["curvature.ntk_eigenvalue_1"] <= figures["curvature.ntk_trace"] * (1 + 1e-6)


def test_the_figures_are_those_of_the_dense_hessian_of_the_classifier_alone():
    """A frozen encoder leaves the 2 × 12 weights and 2 biases of the classifier, whose loss has a known Hessian."""
    run = measured(trains=("classifier",), losses=("classification",), weighting={"kind": "fixed"})
    settings = run.stage.diagnostics.curvature.model_copy(update={"iterations": 26, "probes": 2000})
    measure = Curvature(settings, run.stage, run.train, seed=0)
    model = run.model.eval()
    figures = measure.measure(model)
    seen = []
    head = model.heads["classification"]
    hook = head.read.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().double()))
    logits = model(measure.batch.signals, None, ("classification",))["classification"].detach().double()
    hook.remove()
    x = torch.cat([seen[0], torch.ones(6, 1)], dim=1)
    spread = torch.sigmoid(logits) * torch.sigmoid(-logits) / logits.numel()
    hessian = torch.block_diag(*(x.T @ (spread[:, [k]] * x) for k in range(2)))
    largest = torch.linalg.eigvalsh(hessian).flip(0)
    for rank in (0, 1):
        assert figures[f"curvature.hessian_eigenvalue_{rank + 1}"] == pytest.approx(float(largest[rank]), rel=1e-3)
    assert figures["curvature.hessian_trace"] == pytest.approx(float(hessian.trace()), rel=0.1)
    kernel = x @ x.T  # of a linear layer, the same for both labels
    assert figures["curvature.ntk_trace"] == pytest.approx(float(kernel.trace()), rel=1e-4)
    assert figures["curvature.ntk_eigenvalue_1"] == pytest.approx(float(torch.linalg.eigvalsh(kernel)[-1]), rel=1e-4)


def test_runs_of_one_seed_measure_the_same_records():
    first, again = (
        measured().probes.curvature,
        measured(losses=("classification",), trains=("encoder", "classifier")).probes.curvature,
    )
    assert torch.equal(first.batch.signals, again.batch.signals)
    assert len(first.batch.labels) == 6


def test_a_stage_without_classification_is_refused():
    with pytest.raises(ValidationError, match=r"diagnostics\.curvature measures the loss of classification"):
        measured(losses=("reconstruction",), trains=("encoder", "decoder"), weighting={"kind": "fixed"})
