import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.dwa import DwaSettings

START = Moment(step=0, epoch=0, progress=0.0)
PAIR = ("reconstruction", "classification")


def epoch(weighting, *losses):
    """The weights of an epoch of these losses."""
    rows = [weighting(torch.tensor(row), START).weights for row in losses]
    weighting.end_epoch()
    assert all(torch.equal(row, rows[0]) for row in rows)
    return rows[0].tolist()


def test_weights_of_the_third_epoch_follow_the_ratio_of_the_first_two_losses():
    weighting = DwaSettings().build(PAIR)
    assert epoch(weighting, [1.2, 0.4], [0.8, 0.8]) == [1.0, 1.0]  # means 1.0, 0.6
    assert epoch(weighting, [0.5, 0.6]) == [1.0, 1.0]
    # ratios 0.5 and 1: 2 softmax(0.25, 0.5) = 0.875647, 1.124353
    assert epoch(weighting, [0.5, 0.6]) == pytest.approx([0.875647, 1.124353], abs=1e-5)


def test_weights_of_two_tasks_stay_within_a_quarter_of_one():
    weighting = DwaSettings().build(PAIR)
    epoch(weighting, [1.0, 1.0])
    epoch(weighting, [0.0, 1.0])
    # 2 softmax(0, 1/2)
    assert epoch(weighting, [0.0, 1.0]) == pytest.approx([0.755081, 1.244919], abs=1e-5)


def test_the_base_multiplies_the_weights():
    weighting = DwaSettings(base={"reconstruction": 0.1}).build(PAIR)
    assert epoch(weighting, [1.0, 1.0]) == pytest.approx([0.1, 1.0])
    epoch(weighting, [1.0, 1.0])
    assert epoch(weighting, [1.0, 1.0]) == pytest.approx([0.1, 1.0])


def test_weights_agree_with_torchjd():
    scalarization = pytest.importorskip("torchjd.scalarization")
    ours, theirs = DwaSettings().build(PAIR), scalarization.DWA()
    for row in torch.rand(6, 4, 2) + 0.1:
        for losses in row:
            values = losses.clone().requires_grad_()
            theirs(values).backward()
            torch.testing.assert_close(ours(losses, START).weights, values.grad)
        ours.end_epoch()
        theirs.step()
