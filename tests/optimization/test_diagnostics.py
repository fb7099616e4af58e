import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode

from ecgmtl.optimization.diagnostics import DiagnosticsSettings, GradientDiagnostics

TASKS = ("reconstruction", "classification")
MAIN = "classification"
EVEN = torch.ones(2)


def diagnostics(ema=0.9, tasks=TASKS):
    return GradientDiagnostics(tasks, MAIN, DiagnosticsSettings(ema=ema))


def planted(cosine, snr, n_parameters, n_probes, common=0.0):
    """Yield halves of probes with true rows of norm 1; `common` is the fraction of the noise shared by the tasks."""
    true = torch.zeros(2, n_parameters)
    true[0, :2] = torch.tensor([cosine, math.sqrt(1 - cosine**2)])
    true[1, 0] = 1.0
    std = 0.0 if snr == math.inf else math.sqrt(1 / snr / n_parameters)
    for _ in range(n_probes):
        own, shared = torch.randn(2, 2, n_parameters), torch.randn(2, 1, n_parameters)
        yield true + std * (math.sqrt(1 - common) * own + math.sqrt(common) * shared)


def after(statistics, probes, weights=EVEN, n_records=64):
    for first, second in probes:
        found = statistics.observe(first, second, weights, n_records)
    return {name.removeprefix("gradient."): value.item() for name, value in found.items()}


def test_the_cosine_is_recovered_under_ten_times_more_noise_than_signal():
    probes = list(planted(cosine=0.2, snr=0.1, n_parameters=2000, n_probes=1000))
    raw = torch.stack([F.cosine_similarity(half[0], half[1], dim=0) for probe in probes for half in probe]).mean()
    # 0.2 / (1 + 1/0.1) = 0.018
    assert raw.item() == pytest.approx(0.2 / 11, abs=0.003)
    # a product of halves varies by 2 (10/2000) + 2000 (10/2000)^2 = 0.06, that across tasks by half of it; over the
    # 399 probes in the running mean the cosine's standard error is 0.01
    assert after(diagnostics(ema=0.995), probes)["cosine.reconstruction"] == pytest.approx(0.2, abs=0.02)


def test_noise_shared_by_tasks_does_not_bias_the_cosine():
    probes = list(planted(cosine=-0.2, snr=0.1, n_parameters=2000, n_probes=1000, common=0.5))
    raw = torch.stack([F.cosine_similarity(half[0], half[1], dim=0) for probe in probes for half in probe]).mean()
    assert raw > 0.4
    assert after(diagnostics(ema=0.995), probes)["cosine.reconstruction"] == pytest.approx(-0.2, abs=0.03)


def test_pure_noise_conflicts_in_half_of_the_probes():
    found = after(diagnostics(), (torch.randn(2, 2, 100) for _ in range(2000)))
    rates = ["conflict_rate.reconstruction", "conflict_null.reconstruction", *(f"conflict_within.{t}" for t in TASKS)]
    for name in rates:  # four standard errors of a fraction of 2000
        assert found[name] == pytest.approx(0.5, abs=0.045)
    # a cosine needs two positive products: 1 - 1/4
    assert found["nan_rate.reconstruction"] == pytest.approx(0.75, abs=0.039)


def test_conflicting_tasks_differ_from_the_null():
    found = after(diagnostics(), planted(cosine=-0.8, snr=10, n_parameters=300, n_probes=400))
    assert found["conflict_rate.reconstruction"] == 1
    assert [found[f"conflict_within.{task}"] for task in TASKS] == [0, 0]
    assert found["conflict_null.reconstruction"] == pytest.approx(0.5, abs=0.075)
    assert found["nan_rate.reconstruction"] == 0


def test_the_noise_scale_equals_the_simulated_one():
    mean, n_parameters, std = torch.randn(2, 500), 500, torch.tensor([2.0, 5.0])
    found = after(
        diagnostics(ema=0.99),
        ((mean + std[:, None] * torch.randn(2, 32, 2, n_parameters)).mean(dim=1) for _ in range(200)),
    )
    for task, row, of_task in zip(TASKS, mean, std, strict=True):
        expected = n_parameters * of_task.item() ** 2 / row.square().sum().item()
        assert found[f"noise_scale.{task}"] == pytest.approx(expected, rel=0.05)


def test_statistics_of_one_probe_equal_those_by_hand():
    first, second = torch.tensor([[3.0, 0.0], [2.0, 2.0]]), torch.tensor([[1.0, 4.0], [2.0, 0.0]])
    found = after(diagnostics(), [(first, second)], torch.tensor([0.5, 2.0]), n_records=8)
    # a1.a2 = 3, b1.b2 = 4, (a1.b2 + a2.b1) / 2 = (6 + 10) / 2
    assert found["norm.reconstruction"] == pytest.approx(math.sqrt(3))
    assert found["norm.classification"] == pytest.approx(2)
    assert found["cosine.reconstruction"] == pytest.approx(8 / math.sqrt(12))
    assert found["magnitude_similarity.reconstruction"] == pytest.approx(2 * math.sqrt(12) / 7)
    assert found["effective_weight_ratio.reconstruction"] == pytest.approx(0.5 * math.sqrt(3) / (2 * 2))
    # |g_4|^2 = (9 + 17) / 2 = 13, |g_8|^2 = |(2, 2)|^2 = 8: |G|^2 = (8*8 - 4*13) / 4 = 3, tr = (13 - 8) / (1/4 - 1/8)
    assert found["noise_scale.reconstruction"] == pytest.approx(40 / 3)
    assert found["conflict_rate.reconstruction"] == 0


def test_running_means_weight_probes_by_their_age():
    one, two = torch.tensor([[1.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    found = after(diagnostics(ema=0.5), [(one, one), (two, two)])
    # the first counts 0.25 and the second 0.5, together 0.75: (0.25 + 4.5) / 0.75 = 19/3
    assert found["norm.classification"] == pytest.approx(math.sqrt(19 / 3))


def test_statistics_dominated_by_noise_are_nan():
    statistics = diagnostics()
    found = after(statistics, [(torch.tensor([[1.0], [1.0]]), torch.tensor([[-1.0], [1.0]]))])
    undefined = {name for name, value in found.items() if math.isnan(value)}
    affected = ("cosine", "magnitude_similarity", "effective_weight_ratio", "norm", "noise_scale")
    assert undefined == {f"{name}.reconstruction" for name in affected}
    assert found["nan_rate.reconstruction"] == found["conflict_within.reconstruction"] == 1


def test_a_probe_that_is_not_finite_is_ignored():
    probes = list(planted(cosine=0.2, snr=1, n_parameters=50, n_probes=5))
    broken = torch.full((2, 2, 50), torch.inf)
    assert after(diagnostics(), probes) == after(diagnostics(), [*probes, broken])


def test_every_auxiliary_task_is_compared_with_the_main_task():
    names = after(diagnostics(tasks=(*TASKS, "consistency")), [torch.ones(2, 3, 4)], torch.ones(3))
    assert {name for name in names if name.startswith("cosine")} == {"cosine.reconstruction", "cosine.consistency"}
    assert {f"norm.{task}" for task in (*TASKS, "consistency")} < names.keys()
    assert after(diagnostics(tasks=(MAIN,)), [torch.ones(2, 1, 4)], torch.ones(1))["norm.classification"] == 2


def test_a_restored_state_continues_with_the_same_statistics():
    probes = list(planted(cosine=0.2, snr=0.3, n_parameters=100, n_probes=20))
    original, restored = diagnostics(), diagnostics()
    after(original, probes[:10])
    restored.load_state_dict(original.state_dict())
    assert after(original, probes[10:]) == pytest.approx(after(restored, probes[10:]), rel=0, abs=0, nan_ok=True)


def test_diagnostics_never_synchronize_with_the_device():
    # a fake tensor has no values, so reading one, which would synchronize with the device, raises
    with FakeTensorMode():
        found = diagnostics().observe(torch.ones(2, 30), torch.ones(2, 30), torch.ones(2), 64)
    assert all(value.shape == () and value.dtype == torch.float64 for value in found.values())


def test_autocast_leaves_the_statistics_exact():
    probes = list(planted(cosine=0.2, snr=1, n_parameters=50, n_probes=3))
    with torch.autocast("cpu", torch.bfloat16):
        found = after(diagnostics(), probes)
    assert found == pytest.approx(after(diagnostics(), probes), rel=0, abs=0, nan_ok=True)


def test_a_main_task_outside_the_tasks_is_refused():
    with pytest.raises(ValueError, match="main task is 'classification', but the tasks are reconstruction"):
        diagnostics(tasks=("reconstruction",))
    with pytest.raises(ValidationError, match="less than 1"):
        DiagnosticsSettings(ema=1.0)


def test_the_null_uses_another_shift_at_each_probe():
    statistics, found = diagnostics(), []
    # the main task's row has one entry that is not 0, so its product with 0, 1, 2... is the entry's shifted index
    rows = torch.stack([torch.arange(1000.0), F.one_hot(torch.tensor(0), 1000).float()]).double()
    for _ in range(20):
        found.append(statistics.shifted(rows, rows)[0].item())
        statistics.n_probes += 1
    assert len(set(found)) == 20
    assert 0 not in found
    assert all(abs(a - b) > 10 for a, b in pairwise(found))
