import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.famo import FamoSettings

START = Moment(step=0, epoch=0, progress=0.0)
PAIR = ("reconstruction", "classification")


def test_weights_add_up_to_one_and_make_equal_relative_steps():
    weights = FamoSettings().build(PAIR)(torch.tensor([0.8, 0.2]), START).weights
    # z = (1/2, 1/2): 1/2 / 0.8 = 0.625 and 1/2 / 0.2 = 2.5, over their sum 3.125
    assert weights.tolist() == pytest.approx([0.2, 0.8])


def test_the_task_whose_loss_fell_less_gains_weight():
    weighting = FamoSettings().build(PAIR)
    weighting(torch.tensor([0.8, 0.2]), START)
    weighting.look_again(torch.tensor([0.4, 0.2]))
    # the first step of Adam is the rate long: xi = (-0.025, 0.025)
    assert weighting.logits.tolist() == pytest.approx([-0.025, 0.025], abs=1e-6)


def test_weights_agree_with_torchjd_over_many_updates():
    scalarization = pytest.importorskip("torchjd.scalarization")
    least = torch.tensor([0.05, 0.0])
    ours = FamoSettings(minimum={"reconstruction": 0.05}, decay=0.01).build(PAIR)
    theirs = scalarization.FAMO(2, min_losses=least, weight_decay=0.01)
    for before, after in torch.rand(40, 2, 2) + 0.1:
        values = before.clone().requires_grad_()
        theirs(values).backward()
        torch.testing.assert_close(ours(before, START).weights, values.grad)
        ours.look_again(after)
        theirs.update(after)


def test_a_loss_below_its_minimum_is_refused():
    weighting = FamoSettings(minimum={"reconstruction": 0.5}).build(PAIR)
    with pytest.raises(ValueError, match=r"less weighting\.minimum, are never negative; found -0\.1, 0\.2"):
        weighting(torch.tensor([0.4, 0.2]), START)
