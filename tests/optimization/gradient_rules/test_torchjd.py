"""The gradient rules against the package torchjd, and the adapter to it.

torchjd is handed Jacobians of Frobenius norm 1, for several of its aggregators add constants of 1e-4 or 1e-8 to norms.
Our rules get the same rows at scales from 1e-5 to 1e3, and should find the same direction at each.
"""

import sys
from functools import partialmethod

import pytest
import torch

from ecgmtl.optimization.gradient_rules.bisector import BisectorSettings
from ecgmtl.optimization.gradient_rules.cagrad import CagradSettings
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.mgda import MgdaSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.gradient_rules.sum import SumSettings
from ecgmtl.optimization.gradient_rules.torchjd import TorchjdSettings, build_aggregator
from tests.promises.family import TASKS

jd = pytest.importorskip("torchjd.aggregation")

SHAPES = ("random", "conflicting", "parallel")
every_shape = pytest.mark.parametrize("shape", SHAPES)
every_scale = pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 1e3])


def jacobian(shape, n_tasks=2, seed=0):
    """Float32 rows of unequal lengths; parallel ones differ by about a thousandth."""
    rows = torch.randn(n_tasks, 50, generator=torch.Generator().manual_seed(seed))
    if shape == "conflicting":
        rows[1:] -= 1.5 * rows[0]
    if shape == "parallel":
        rows = rows[0] + 1e-3 * rows
    return rows * torch.tensor([1.0, 0.3, 2.0])[:n_tasks, None]


def assert_same_direction(step, expected):
    apart = step.double() / step.double().norm() - expected / expected.norm()
    assert apart.norm() < 1e-6


PAIRS = {
    "sum": (SumSettings(), lambda: jd.Sum()),
    "pcgrad": (PcgradSettings(), lambda: jd.PCGrad()),
    "mgda": (MgdaSettings(), lambda: jd.MGDA(epsilon=1e-12, max_iters=1000)),
    "imtl-g": (BisectorSettings(), lambda: jd.IMTLG()),
    "config": (BisectorSettings(), lambda: jd.ConFIG()),
    "fairgrad": (BisectorSettings(), lambda: jd.FairGrad(alpha=1.0)),
    "gradvac": (GradvacSettings(beta=0.5), lambda: jd.GradVac(beta=0.5, eps=0.0)),
}


@every_scale
@every_shape
@pytest.mark.parametrize("pair", PAIRS)
def test_rules_of_two_tasks_agree_with_torchjd(pair, shape, scale):
    ours, theirs = PAIRS[pair]
    for seed in range(5):
        rows = jacobian(shape, seed=seed)
        wide = rows.double()
        step = ours.build(TASKS[:2]).combine(scale * rows, 0, 0)
        assert_same_direction(step, theirs()(wide / wide.norm()))


@every_shape
@pytest.mark.parametrize("n_tasks", [2, 3])
@every_scale
@pytest.mark.parametrize("c", [0.2, 0.4, 0.9])
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # 1e-14 is more than it can promise
def test_cagrad_agrees_with_torchjd(monkeypatch, c, n_tasks, shape, scale):
    cvxpy = pytest.importorskip("cvxpy")
    pytest.importorskip("clarabel")
    exact = {"tol_gap_abs": 1e-14, "tol_gap_rel": 1e-14, "tol_feas": 1e-14}  # it would stop at 1e-8 and be 1e-5 off
    monkeypatch.setattr(cvxpy.Problem, "solve", partialmethod(cvxpy.Problem.solve, **exact))
    wide = jacobian(shape, n_tasks).double()
    expected = jd.CAGrad(c=c, norm_eps=0.0)(wide / wide.norm())
    step = CagradSettings(c=c).build(TASKS[:n_tasks]).combine(scale * wide.float(), 0, 0)
    assert_same_direction(step, expected)


@every_scale
@every_shape
def test_the_bisector_of_three_tasks_agrees_with_torchjd(shape, scale):
    wide = jacobian(shape, 3).double()
    step = BisectorSettings().build(TASKS).combine(scale * wide.float(), 0, 0)
    assert_same_direction(step, jd.IMTLG()(wide / wide.norm()))


@every_shape
def test_torchjd_has_no_shorter_combination_of_three_tasks(shape):
    wide = jacobian(shape, 3).double()
    step = MgdaSettings().build(TASKS).combine(wide.float(), 0, 0)
    found = jd.MGDA(epsilon=1e-9, max_iters=2000)(wide)
    assert step.norm() <= found.norm() * (1 + 1e-6)  # theirs comes near it by ever smaller steps
    torch.testing.assert_close(step.double(), found, atol=1e-3 * float(wide.norm()), rtol=0)


def test_gradvac_agrees_with_torchjd_over_several_steps():
    ours, theirs = GradvacSettings(beta=0.5).build(TASKS[:2]), jd.GradVac(beta=0.5, eps=0.0)
    for seed, shape in enumerate(("random", "parallel", "random", "conflicting", "random", "parallel", "conflicting")):
        rows = jacobian(shape, seed=seed)
        assert_same_direction(ours.combine(rows, 0, seed), theirs(rows.double()))


@every_scale
@pytest.mark.parametrize("name", ["PCGrad", "IMTLG", "AlignedMTL", "ConFIG", "GradDrop", "PCD"])
def test_the_adapter_returns_the_aggregators_result(name, scale):
    rows = jacobian("conflicting")
    wide = rows.double() / rows.double().norm()
    step = TorchjdSettings(aggregator=name).build(TASKS[:2], seed=3).combine(scale * rows, 0, 7)
    with torch.random.fork_rng():
        torch.manual_seed((3 << 32) + 7)
        expected = getattr(jd, name)()(wide)
    assert_same_direction(step, expected)


def test_the_adapter_passes_the_main_task_first():
    rows = jacobian("conflicting")
    step = TorchjdSettings(aggregator="PCD").build(TASKS[:2]).combine(rows, 1, 0)
    swapped = TorchjdSettings(aggregator="PCD").build(TASKS[:2]).combine(rows.flip(0), 0, 0)
    torch.testing.assert_close(step, swapped)
    # it is as long as the main gradient, which the other one is not
    assert step.norm().item() == pytest.approx(rows[1].norm().item(), rel=1e-4)


def test_the_adapter_passes_options_with_lists_as_tensors():
    rows = jacobian("random")
    settings = TorchjdSettings(aggregator="Constant", options={"weights": [2.0, -1.0]})
    rule = settings.build(TASKS[:2])
    torch.testing.assert_close(rule.combine(rows, 0, 0), 2 * rows[0] - rows[1])


@pytest.mark.parametrize("name", ["GradVac", "PCD", "ExcessMTL", "Random", "GradDrop"])
def test_the_adapter_saves_the_state_of_its_aggregator(name, tmp_path):
    def run(rule, steps):
        return torch.stack([rule.combine(jacobian("conflicting", 3, seed=step), 0, step) for step in steps])

    straight, fresh = (TorchjdSettings(aggregator=name).build(TASKS) for _ in range(2))
    run(straight, range(5))
    torch.save(straight.state_dict(), tmp_path / "state")
    fresh.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(run(straight, range(5, 15)), run(fresh, range(5, 15)))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("PCGard", {}, r"no aggregator 'PCGard'; it has AlignedMTL, .*PCGrad"),
        ("Aggregator", {}, "no aggregator 'Aggregator'"),
        ("PCGradWeighting", {}, "no aggregator"),
        ("NashMTL", {"n_tasks": 2}, "no checkpoint can hold; for two tasks the rule bisector"),
        ("FairGrad", {}, "cannot be built with the options {}.*alpha"),
        ("PCD", {"tau": 3.0}, r"must be in \[0, 1\]"),
    ],
)
def test_an_unusable_aggregator_is_refused_when_it_is_built(name, options, said):
    with pytest.raises(ValueError, match=said):
        TorchjdSettings(aggregator=name, options=options).build(TASKS)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ValueError, match="pip install torchjd"):
        build_aggregator("PCGrad", {})
