"""The least that a model can be given: one sample, one frame, nothing visible, one lead."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.lead_set import LeadSet
from data_prep.leads import STANDARD_LEADS
from ecgmtl.config.run import Config
from ecgmtl.data.masking import MaskingSettings, sample_mask
from ecgmtl.inference.reconstruct import reconstruct
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.metrics.reconstruction import MaskedSums, mean_pearson_r, reconstruction_figures
from ecgmtl.training.batches import Batches
from tests.models import untrained
from tests.trainings import ENCODERS, JOINT, split
from tests.wfdb_files import make_record


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
def test_one_sample_is_read_as_one_frame_and_reconstructed_though_nothing_is_visible(encoder):
    model = Config(encoder=encoder).build_model(2).eval()
    signals = torch.randn(2, 12, 1)
    outputs = model(signals, torch.ones(2, 8, 1, dtype=torch.bool))
    assert outputs["reconstruction"].mean.shape == (2, 8, 1)
    torch.testing.assert_close(outputs["classification"][0], outputs["classification"][1])  # they look alike, masked
    whole = model.reconstruct(signals, torch.ones(2, 8, 1, dtype=torch.bool))
    assert whole.shape == (2, 12, 1)
    assert whole.isfinite().all()
    torch.testing.assert_close(model.classify(signals)[:1], model.classify(signals[:1]), atol=1e-5, rtol=1e-5)


def test_eleven_leads_are_reconstructed_from_one():
    found = reconstruct(untrained(), make_record(), LeadSet.parse("I"))
    np.testing.assert_array_equal(found.signal[0], np.rint(1000 * make_record().signal[:, 0]))
    one, two, three = found.signal[:3].astype(int)
    assert np.abs(three - two + one).max() <= 1.5  # three values rounded to 1 µV
    assert found.leads.reconstructed == STANDARD_LEADS[1:]
    assert any("only I of the limb leads is given" in remark.sentence for remark in found.remarks)
    assert any("7 or more of 8 independent leads" in remark.sentence for remark in found.remarks)


def sums_of(truth, reconstruction):
    x, y = (torch.tensor(values)[None, None] for values in (truth, reconstruction))
    return MaskedSums.of(x, y, torch.ones_like(x, dtype=torch.bool))


def test_figures_of_one_masked_sample_are_its_error_and_no_correlation():
    found = reconstruction_figures(sums_of([0.5], [0.2]))
    assert (found.n_samples, found.rmse_mv, found.mae_mv) == (1, pytest.approx(0.3), pytest.approx(0.3))
    assert math.isnan(found.pearson_r)
    assert math.isnan(mean_pearson_r(sums_of([0.5], [0.2])))
    assert math.isnan(mean_pearson_r(sums_of([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])))  # a flat lead


def test_a_flat_lead_has_no_part_in_the_mean_correlation():
    truth = torch.tensor([[[0.0, 1.0, 0.0], [0.5, 0.5, 0.5]]])
    found = MaskedSums.of(truth, truth + torch.tensor([0.1, 0.1, 0.1]), torch.ones(1, 2, 3, dtype=torch.bool))
    assert mean_pearson_r(found) == pytest.approx(1.0)


def test_figures_are_in_millivolts_per_cent_and_decibels():
    found = reconstruction_figures(sums_of([0.0, 1.0, 0.0, 1.0], [0.1, 0.9, -0.1, 1.1]))
    # the truth deviates by 0.5 mV from its mean, the error by 0.1 mV from 0: a fifth
    assert (found.rmse_mv, found.mae_mv) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.prd_percent == pytest.approx(20.0)
    assert found.snr_db == pytest.approx(20 * math.log10(5))


def test_one_record_alone_has_no_auroc():
    assert math.isnan(macro_auroc(np.array([[0.3]]), np.array([[1.0]])))


@pytest.mark.parametrize(
    ("n_train", "n_batches", "n_records"), [(1, 1, 1), (15, 1, 15), (16, 1, 16), (17, 1, 16), (31, 1, 16), (32, 2, 32)]
)
def test_whole_batches_of_an_epoch_are_counted_to_the_record(n_train, n_batches, n_records):
    batches = Batches(split(n_train), JOINT, (0, 0))
    assert (batches.n_batches, batches.n_records) == (n_batches, n_records)
    index = batches.order(torch.Generator().manual_seed(0))
    assert (len(index), len(torch.cat(index))) == (n_batches, n_records)


def test_a_share_of_the_patients_is_rounded_and_one_at_the_least():
    records = replace(split(20), patients=np.arange(20) // 2)
    counts = [records.sample_patients(share, (0,)).sum() for share in (0.01, 0.14, 0.16, 0.94, 0.96, 1.0)]
    assert counts == [2, 2, 4, 18, 20, 20]  # two records a patient, of ten patients


def test_one_lead_stays_visible_and_a_block_may_be_longer_than_the_record():
    generator = torch.Generator().manual_seed(0)
    leads = sample_mask((400, 1), 100.0, MaskingSettings(time=0, leads=0.99), generator)
    assert leads.shape == (400, 8, 1)
    assert leads.sum(dim=1).max() == 7
    blocks = sample_mask((400, 10), 100.0, MaskingSettings(time=0.5, leads=0, block_seconds=0.15), generator)
    assert (blocks[..., 1:] != blocks[..., :-1]).sum(dim=-1).max() == 1
    assert blocks.float().mean().item() == pytest.approx(0.5, abs=0.1)
