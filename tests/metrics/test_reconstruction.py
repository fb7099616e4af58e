import warnings

import numpy as np
import pytest
import torch

from ecgmtl.metrics.reconstruction import MaskedSums, reconstruction_figures


def masked_case(seed=0, n_records=5, n_samples=200):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(n_records, 12, n_samples, generator=generator)
    drawn = 0.7 * truth + 0.1 + 0.3 * torch.randn(truth.shape, generator=generator)
    return truth, drawn, torch.rand(truth.shape, generator=generator) < 0.3


def test_reconstruction_figures_equal_numpy_on_the_hidden_samples():
    truth, drawn, mask = masked_case()
    parts = [MaskedSums.of(truth[part], drawn[part], mask[part]) for part in (slice(0, 2), slice(2, 5))]
    found = reconstruction_figures(MaskedSums.join(parts))
    x, y = truth[mask].double().numpy(), drawn[mask].double().numpy()
    assert found.n_samples == len(x)
    assert found.rmse_mv == pytest.approx(np.sqrt(np.mean((y - x) ** 2)), rel=1e-9)
    assert found.mae_mv == pytest.approx(np.abs(y - x).mean(), rel=1e-9)
    assert found.pearson_r == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    ratio = np.sum((y - x) ** 2) / np.sum((x - x.mean()) ** 2)
    assert found.prd_percent == pytest.approx(100 * np.sqrt(ratio), rel=1e-9)
    assert found.snr_db == pytest.approx(-10 * np.log10(ratio), rel=1e-9)


def test_reconstruction_figures_of_some_records_and_leads():
    truth, drawn, mask = masked_case()
    records = np.array([True, False, True, False, False])
    found = reconstruction_figures(MaskedSums.of(truth, drawn, mask).select(records, [1, 6]))
    chosen = torch.zeros_like(mask)
    chosen[torch.tensor([0, 0, 2, 2]), torch.tensor([1, 6, 1, 6])] = True
    errors = (drawn.double() - truth)[mask & chosen]
    assert found.rmse_mv == pytest.approx(float(errors.square().mean().sqrt()), rel=1e-9)


def test_visible_samples_do_not_count():
    truth, drawn, mask = masked_case()
    spoilt = torch.where(mask, drawn, 1e3)
    assert reconstruction_figures(MaskedSums.of(truth, spoilt, mask)) == reconstruction_figures(
        MaskedSums.of(truth, drawn, mask)
    )


def test_drawing_the_mean_gives_a_prd_of_100_and_an_snr_of_0():
    truth, _, mask = masked_case()
    found = reconstruction_figures(MaskedSums.of(truth, truth[mask].mean().expand_as(truth), mask))
    assert found.prd_percent == pytest.approx(100, abs=1e-3)
    assert found.snr_db == pytest.approx(0, abs=1e-3)


def test_nothing_hidden_gives_no_figure_and_no_warning():
    truth, drawn, mask = masked_case()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reconstruction_figures(MaskedSums.of(truth, drawn, torch.zeros_like(mask)))
        perfect = reconstruction_figures(MaskedSums.of(truth, truth, mask))
    assert found.n_samples == 0
    assert np.isnan(found.rmse_mv)
    assert (perfect.rmse_mv, perfect.snr_db) == (0.0, np.inf)
