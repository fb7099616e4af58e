import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.uw_so import UwSoSettings

START = Moment(step=0, epoch=0, progress=0.0)
PAIR = ("reconstruction", "classification")
SMALL = torch.tensor([0.05, 0.30])


@pytest.mark.parametrize(
    ("temperature", "expected"),  # the softmax of (20, 3.333) / T: the difference is 16.67 / T
    [(1.0, [1.000, 0.000]), (20.0, [0.697, 0.303])],
)
def test_small_losses_saturate_the_softmax_unless_it_is_hot(temperature, expected):
    weighting = UwSoSettings(temperature=temperature).build(PAIR)
    assert weighting(SMALL, START).weights.tolist() == pytest.approx(expected, abs=5e-4)


def test_a_floor_keeps_every_weight_above_it_and_their_sum():
    weights = UwSoSettings(temperature=1.0, floor=0.1).build(PAIR)(SMALL, START).weights
    assert weights.tolist() == pytest.approx([0.9, 0.1], abs=1e-5)


def test_scaled_losses_start_equal_and_follow_their_remaining_fractions():
    weighting = UwSoSettings(temperature=1.0, smoothing=0.0, scaled=True).build(PAIR)
    weighting.begin(SMALL)
    assert weighting(SMALL, START).weights.tolist() == pytest.approx([0.5, 0.5])
    # half of the second is left: softmax(1, 2)
    halved = weighting(torch.tensor([0.05, 0.15]), START).weights
    assert halved.tolist() == pytest.approx([0.268941, 0.731059], abs=1e-5)


def test_smoothing_limits_the_change_of_a_single_step():
    weighting = UwSoSettings(smoothing=0.9).build(PAIR)
    for _ in range(50):
        before = weighting(SMALL, START).weights
    after = weighting(torch.tensor([0.30, 0.05]), START).weights
    assert 0 < before[0] - after[0] < 0.1


def test_floors_that_add_up_to_more_than_one_are_refused():
    with pytest.raises(ValueError, match=r"2 weights above 0\.5 cannot add up to 1; set a lower weighting\.floor"):
        UwSoSettings(floor=0.5).build(PAIR)
