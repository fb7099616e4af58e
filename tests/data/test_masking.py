import numpy as np
import pytest
import torch

from data_prep.leads import STANDARD_LEADS
from ecgmtl.data.lead_algebra import algebra, extend_mask
from ecgmtl.data.masking import MaskingSettings, sample_mask


def draw(size=(400, 1000), seed=0, **settings):
    return sample_mask(size, 100.0, MaskingSettings(**settings), torch.Generator().manual_seed(seed))


def test_the_algebra_is_einthovens_and_goldbergers():
    one, two = 0.7, 1.1
    leads = algebra() @ torch.tensor([one, two, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, 1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(leads, torch.tensor(expected))


def test_nothing_hidden_can_be_computed_from_what_is_visible():
    matrix = algebra().numpy()
    for bits in range(256):
        mask = torch.tensor([bool(bits >> k & 1) for k in range(8)])[None, :, None]
        visible = matrix[~extend_mask(mask)[0, :, 0].numpy()]
        for lead in np.flatnonzero(mask[0, :, 0].numpy()):
            with_it = np.vstack([visible, np.eye(8)[lead]])
            assert np.linalg.matrix_rank(with_it) == (np.linalg.matrix_rank(visible) if len(visible) else 0) + 1


def test_shares_are_as_set():
    mask = draw(time=0.4, leads=0.0).float()
    assert abs(mask.mean() - 0.4) < 0.02
    leads = draw((4000, 10), time=0.0, leads=0.3).float().mean(dim=(0, 2))
    assert (leads - 0.3).abs().max() < 0.03


def test_one_lead_stays_visible():
    assert not draw(time=0.0, leads=0.99).all(dim=1).any()


def test_blocks_are_as_long_as_set():
    mask = draw((50, 1000), time=0.1, leads=0.0, block_seconds=0.4)[:, 0].int()
    edges = torch.diff(mask, dim=1)
    lengths = [
        ((e == -1).nonzero()[0] - (e == 1).nonzero()[0]).item() for e in edges if (e == 1).any() and (e == -1).any()
    ]
    assert all(length % 40 == 0 for length in lengths if length > 0)


def test_none_is_hidden_where_the_share_is_zero():
    assert not draw(share=0.0).any()


def test_the_same_seed_hides_the_same():
    assert torch.equal(draw(seed=3), draw(seed=3))
    assert not torch.equal(draw(seed=3), draw(seed=4))


def test_visible_samples_count_as_set():
    mask = torch.tensor([[[True, False]]])
    torch.testing.assert_close(MaskingSettings(visible=0.25).scores(mask), torch.tensor([[[1.0, 0.25]]]))


def test_nothing_visible_holds_a_trace_of_what_is_hidden():
    for bits in range(256):
        mask = torch.tensor([bool(bits >> k & 1) for k in range(8)])[None, :, None]
        visible = algebra()[~extend_mask(mask)[0, :, 0]]
        assert not visible[:, mask[0, :, 0]].any()  # not even a mixture of hidden leads


def test_hiding_lead_one_hides_all_that_holds_it_at_that_time():
    mask = torch.zeros(1, 8, 3, dtype=torch.bool)
    mask[0, 0, 1] = True
    found = extend_mask(mask)
    assert [STANDARD_LEADS[row] for row in found[0, :, 1].nonzero().flatten()] == ["I", "III", "aVR", "aVL", "aVF"]
    assert not found[0, :, [0, 2]].any()


def test_a_block_hides_all_leads_and_a_hidden_lead_all_time():
    blocks, leads = draw(time=0.4, leads=0.0), draw(time=0.0, leads=0.4)
    assert torch.equal(blocks.all(dim=1), blocks.any(dim=1))
    assert torch.equal(leads.all(dim=2), leads.any(dim=2))


def test_leads_apart_are_hidden_by_themselves_as_often():
    mask = draw(time=0.4, leads=0.0, apart=True)
    assert (mask.float().mean(dim=(0, 2)) - 0.4).abs().max() < 0.02
    together = torch.corrcoef(mask.transpose(0, 1).flatten(1).float())
    assert (together - torch.eye(8)).abs().max() < 0.05


def test_blocks_start_anywhere():
    edges = draw((500, 500), time=0.2, leads=0.0)[:, 0].int().diff(dim=1)
    assert len(set(((edges == 1).nonzero()[:, 1] % 40).tolist())) == 40


def test_as_many_records_are_masked_as_set():
    assert abs(draw((4000, 100), share=0.4, time=0.9).any(dim=(1, 2)).float().mean() - 0.4) < 0.03


@pytest.mark.parametrize(
    ("settings", "masks"), [({}, True), ({"share": 0}, False), ({"time": 0}, True), ({"time": 0, "leads": 0}, False)]
)
def test_settings_say_whether_anything_is_masked(settings, masks):
    assert MaskingSettings(**settings).masks == masks == bool(draw(**settings).any())


def test_a_curriculum_hides_more_and_more_until_the_whole():
    masking = MaskingSettings(time=0.4, leads=0.2, grows_from=0.5, grows_until=0.5)
    assert [masking.at(p).time for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.2, 0.3, 0.4, 0.4])
    assert [masking.at(p).leads for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.1, 0.15, 0.2, 0.2])
    assert MaskingSettings().at(0.0) == MaskingSettings()
