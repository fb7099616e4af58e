import pytest
import torch

from tests.losses import batch_of, build, cost, decoded


def test_consistency_is_the_violation_of_the_identities_of_the_leads():
    model = build(leads=12)
    model.standardize.mean.fill_(0.1)
    signals = model.lead_algebra @ torch.randn(1, 8, 5)  # in mV, so that the identities hold
    reconstructed = model.standardize(signals)
    batch = batch_of(signals, torch.ones(1, 8, 5))
    assert cost("consistency", model, decoded(reconstructed), batch) == pytest.approx(0, abs=1e-10)
    reconstructed[:, 2] += 2.0  # lead III alone, by 2 units at each of 5 samples: 4 in one of 4 derived leads
    assert cost("consistency", model, decoded(reconstructed), batch) == pytest.approx(1.0, rel=1e-4)
