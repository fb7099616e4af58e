import numpy as np
import pytest
import torch

from data_prep.leads import STANDARD_LEADS
from ecgmtl.data.lead_algebra import algebra, extend_mask
from ecgmtl.data.masking import MaskingSettings, sample_mask


def sample(size=(400, 1000), seed=0, **settings):
    return sample_mask(size, 100.0, MaskingSettings(**settings), torch.Generator().manual_seed(seed))


def test_the_algebra_is_einthovens_and_goldbergers():
    one, two = 0.7, 1.1
    leads = algebra() @ torch.tensor([one, two, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, 1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(leads, torch.tensor(expected))


def test_no_masked_lead_follows_from_visible_ones():
    matrix = algebra().numpy()
    for bits in range(256):
        mask = torch.tensor([bool(bits >> k & 1) for k in range(8)])[None, :, None]
        visible = matrix[~extend_mask(mask)[0, :, 0].numpy()]
        for lead in np.flatnonzero(mask[0, :, 0].numpy()):
            with_it = np.vstack([visible, np.eye(8)[lead]])
            assert np.linalg.matrix_rank(with_it) == (np.linalg.matrix_rank(visible) if len(visible) else 0) + 1


def test_fractions_of_time_and_leads_are_as_set():
    mask = sample(time=0.4, leads=0.0).float()
    assert abs(mask.mean() - 0.4) < 0.02
    leads = sample((4000, 10), time=0.0, leads=0.3).float().mean(dim=(0, 2))
    assert (leads - 0.3).abs().max() < 0.03


def test_one_lead_stays_visible():
    assert not sample(time=0.0, leads=0.99).all(dim=1).any()


def test_blocks_are_as_long_as_set():
    mask = sample((50, 1000), time=0.1, leads=0.0, block_seconds=0.4)[:, 0].int()
    edges = torch.diff(mask, dim=1)
    lengths = [
        ((e == -1).nonzero()[0] - (e == 1).nonzero()[0]).item() for e in edges if (e == 1).any() and (e == -1).any()
    ]
    assert all(length % 40 == 0 for length in lengths if length > 0)


def test_no_record_is_masked_at_share_zero():
    assert not sample(share=0.0).any()


def test_the_same_seed_gives_the_same_mask():
    assert torch.equal(sample(seed=3), sample(seed=3))
    assert not torch.equal(sample(seed=3), sample(seed=4))


def test_visible_samples_have_the_weight_that_is_set():
    mask = torch.tensor([[[True, False]]])
    torch.testing.assert_close(MaskingSettings(visible=0.25).scores(mask), torch.tensor([[[1.0, 0.25]]]))


def test_no_visible_lead_contains_a_masked_one():
    for bits in range(256):
        mask = torch.tensor([bool(bits >> k & 1) for k in range(8)])[None, :, None]
        visible = algebra()[~extend_mask(mask)[0, :, 0]]
        assert not visible[:, mask[0, :, 0]].any()  # nor a linear combination of masked leads


def test_masking_lead_one_masks_the_leads_derived_from_it():
    mask = torch.zeros(1, 8, 3, dtype=torch.bool)
    mask[0, 0, 1] = True
    extended = extend_mask(mask)
    assert [STANDARD_LEADS[row] for row in extended[0, :, 1].nonzero().flatten()] == ["I", "III", "aVR", "aVL", "aVF"]
    assert not extended[0, :, [0, 2]].any()


def test_a_block_covers_all_leads_and_a_masked_lead_all_time():
    blocks, leads = sample(time=0.4, leads=0.0), sample(time=0.0, leads=0.4)
    assert torch.equal(blocks.all(dim=1), blocks.any(dim=1))
    assert torch.equal(leads.all(dim=2), leads.any(dim=2))


def test_independent_masking_masks_leads_separately_and_as_often():
    mask = sample(time=0.4, leads=0.0, apart=True)
    assert (mask.float().mean(dim=(0, 2)) - 0.4).abs().max() < 0.02
    together = torch.corrcoef(mask.transpose(0, 1).flatten(1).float())
    assert (together - torch.eye(8)).abs().max() < 0.05


def test_masked_blocks_start_at_any_sample():
    edges = sample((500, 500), time=0.2, leads=0.0)[:, 0].int().diff(dim=1)
    assert len(set(((edges == 1).nonzero()[:, 1] % 40).tolist())) == 40


def test_as_many_records_are_masked_as_set():
    assert abs(sample((4000, 100), share=0.4, time=0.9).any(dim=(1, 2)).float().mean() - 0.4) < 0.03


@pytest.mark.parametrize(
    ("settings", "masks"), [({}, True), ({"share": 0}, False), ({"time": 0}, True), ({"time": 0, "leads": 0}, False)]
)
def test_masking_settings_report_whether_anything_is_masked(settings, masks):
    assert MaskingSettings(**settings).masks == masks == bool(sample(**settings).any())


def test_a_curriculum_raises_the_masked_fraction_linearly():
    masking = MaskingSettings(time=0.4, leads=0.2, grows_from=0.5, grows_until=0.5)
    assert [masking.at(p).time for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.2, 0.3, 0.4, 0.4])
    assert [masking.at(p).leads for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.1, 0.15, 0.2, 0.2])
    assert MaskingSettings().at(0.0) == MaskingSettings()
