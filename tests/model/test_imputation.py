import numpy as np
import pytest
import torch

from ecgmtl.data.masking import MaskingSettings, sample_mask
from ecgmtl.model.imputation import MEASURED, PRIOR, PRIOR_SAMPLES, RECONSTRUCTED, ROUNDS, Patterns, impute

APART = MaskingSettings(time=0.5, leads=0.2, apart=True)


@pytest.fixture
def mask():
    return sample_mask((3, 200), 100.0, APART, torch.Generator().manual_seed(0))


def one_by_one(signals, mask):
    """Impute sample by sample, in the information form: C = (S^-1 + R^-1)^-1 and x = C R^-1 y."""
    likely, doubt = signals.copy(), np.zeros((len(signals), len(signals)))
    for _ in range(ROUNDS):
        scatter = PRIOR * np.eye(len(signals)) + likely @ likely.T + doubt
        information = np.linalg.inv(scatter / (PRIOR_SAMPLES + signals.shape[1]))
        doubt = np.zeros_like(doubt)
        for time in range(signals.shape[1]):
            precision = np.diag(1 / np.where(mask[:, time], RECONSTRUCTED, MEASURED))
            spread = np.linalg.inv(information + precision)
            likely[:, time] = spread @ precision @ signals[:, time]
            doubt += spread
    return np.where(mask, likely, signals)


def test_imputation_equals_expectation_maximization_record_by_record(mask):
    signals = torch.randn(3, 8, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signals[:, 3] = signals[:, 2] - 0.5 * signals[:, 4]
    expected = [one_by_one(record.numpy(), where.numpy()) for record, where in zip(signals, mask, strict=True)]
    torch.testing.assert_close(impute(signals, mask), torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-6)


def test_imputation_corrects_a_wrong_reconstruction(mask):
    time = torch.linspace(0, 20, 200)
    truth = torch.stack([torch.sin((1 + 0.3 * k) * time) for k in range(2)])
    chance = torch.Generator().manual_seed(2)
    truth = (torch.randn(8, 2, generator=chance) @ truth)[None].expand(3, -1, -1)
    signals = torch.where(mask, truth + RECONSTRUCTED**0.5 * torch.randn(3, 8, 200, generator=chance), truth)
    before, after = ((imputed - truth)[mask].square().mean() for imputed in (signals, impute(signals, mask)))
    assert after < 0.25 * before


def test_imputation_uses_each_record_alone(mask):
    signals = torch.randn(3, 8, 200, generator=torch.Generator().manual_seed(1))
    together = impute(signals, mask)
    torch.testing.assert_close(together[1:2], impute(signals[1:2], mask[1:2]))


def test_measured_samples_stay_bit_for_bit(mask):
    signals = torch.randn(3, 8, 200)
    imputed = impute(signals, mask)
    assert torch.equal(imputed[~mask], signals[~mask])
    assert not torch.isclose(imputed, signals)[mask].all()


@pytest.mark.parametrize("value", [0.0, 1e-6, 500.0])
def test_imputation_with_flat_leads_is_finite(mask, value):
    assert impute(torch.full((3, 8, 200), value), mask).isfinite().all()


def test_patterns_restore_the_mask(mask):
    patterns = Patterns.of(mask)
    assert torch.equal(patterns.mask[patterns.of_sample].view(3, 200, 8).transpose(1, 2), mask)
    assert torch.equal(patterns.record[patterns.of_sample], torch.arange(3).repeat_interleave(200))
    assert torch.equal(patterns.n_samples, patterns.of_sample.bincount())
