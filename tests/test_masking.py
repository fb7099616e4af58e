import numpy as np
import torch

from ecgmtl.leads import algebra, spread
from ecgmtl.masking import MaskingSettings, draw_hidden


def draw(size=(400, 1000), seed=0, **settings):
    return draw_hidden(size, 100.0, MaskingSettings(**settings), torch.Generator().manual_seed(seed))


def test_the_algebra_is_einthovens_and_goldbergers():
    one, two = 0.7, 1.1
    leads = algebra() @ torch.tensor([one, two, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, 1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(leads, torch.tensor(expected))


def test_nothing_hidden_can_be_computed_from_what_is_visible():
    matrix = algebra().numpy()
    for bits in range(256):
        hidden = torch.tensor([bool(bits >> k & 1) for k in range(8)])[None, :, None]
        visible = matrix[~spread(hidden)[0, :, 0].numpy()]
        for lead in np.flatnonzero(hidden[0, :, 0].numpy()):
            with_it = np.vstack([visible, np.eye(8)[lead]])
            assert np.linalg.matrix_rank(with_it) == (np.linalg.matrix_rank(visible) if len(visible) else 0) + 1


def test_shares_are_as_set():
    hidden = draw(time=0.4, leads=0.0).float()
    assert abs(hidden.mean() - 0.4) < 0.02
    leads = draw((4000, 10), time=0.0, leads=0.3).float().mean(dim=(0, 2))
    assert (leads - 0.3).abs().max() < 0.03


def test_one_lead_stays_visible():
    assert not draw(time=0.0, leads=0.99).all(dim=1).any()


def test_blocks_are_as_long_as_set():
    hidden = draw((50, 1000), time=0.1, leads=0.0, block_seconds=0.4)[:, 0].int()
    edges = torch.diff(hidden, dim=1)
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
    hidden = torch.tensor([[[True, False]]])
    torch.testing.assert_close(MaskingSettings(visible=0.25).scores(hidden), torch.tensor([[[1.0, 0.25]]]))
