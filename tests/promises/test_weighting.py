import io
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from ecgmtl.config.stage import Stage
from ecgmtl.optimization.weighting import Moment, WeightingSettings
from ecgmtl.optimization.weighting.alternating import AlternatingSettings
from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.base import RunningMean
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.dwa import DwaSettings
from ecgmtl.optimization.weighting.famo import FamoSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.optimization.weighting.uw_so import UwSoSettings
from tests.promises.family import TASKS
from tests.promises.weightings import Stretch

LOSSES = torch.tensor([0.8, 0.3, 0.1])
START = Moment(step=0, epoch=0, progress=0.0)

OTHERS = [
    FixedSettings(weights={"reconstruction": 0.0}),
    UncertaintySettings(regularizer="liebel"),
    UwSoSettings(temperature=1.0, smoothing=0.0, floor=0.1, scaled=True),
    GradNormSettings(every=1, alpha=0.5, until=0.8),
    DwaSettings(base={"classification_all": 0.1}),
    FamoSettings(decay=0.0),
    DecaySettings(start=0.0),
    BanditSettings(every=3),
    BanditSettings(every=3, control="uniform", base=0.3),
    AlternatingSettings(turns={"classification": 3}),
    AlternatingSettings(by="epoch"),
]

every_method = pytest.mark.parametrize(
    "settings", [kind() for kind in get_args(get_args(WeightingSettings)[0])] + OTHERS, ids=lambda given: given.kind
)
every_method_of_positive_losses = pytest.mark.parametrize(
    "settings",
    [kind() for kind in get_args(get_args(WeightingSettings)[0]) if kind.needs_positive],
    ids=lambda given: given.kind,
)


@every_method
def test_weights_are_constants_and_zero_for_exactly_what_is_not_learned(settings):
    weights = Stretch(settings.build(TASKS)).run(range(130))  # the stretch itself compares them with active()
    assert weights.isfinite().all()
    assert not weights.requires_grad


@every_method
def test_a_restored_weighting_continues_mid_epoch_with_the_same_weights(settings):
    straight = Stretch(settings.build(TASKS))
    straight.run(range(145))
    kept = io.BytesIO()
    torch.save([straight.weighting.state_dict(), straight.optimizer.state_dict()], kept)
    expected = straight.run(range(145, 175))
    kept.seek(0)
    weighting, optimizer = torch.load(kept, weights_only=True)
    resumed = Stretch(settings.build(TASKS))
    resumed.weighting.load_state_dict(weighting)
    resumed.optimizer.load_state_dict(optimizer)
    assert torch.equal(resumed.run(range(145, 175)), expected)


@every_method
def test_two_ranks_with_the_same_losses_have_the_same_weights(settings):
    one, other = Stretch(settings.build(TASKS)), Stretch(settings.build(TASKS))
    torch.manual_seed(1)
    found = one.run(range(60))
    torch.manual_seed(2)
    assert torch.equal(other.run(range(60)), found)


@every_method
def test_half_precision_losses_are_weighted_in_single_precision(settings):
    weighting = settings.build(TASKS)
    halves = LOSSES.bfloat16()
    weighting.begin(halves)
    weighting.observe(halves)
    weights, objective = weighting(halves, START)
    weighting.look_again(halves)
    assert weights.dtype == torch.float32
    assert weights.isfinite().all()
    assert objective is None or objective.dtype == torch.float32


@every_method
def test_logged_values_are_one_number_per_task_from_the_first_step(settings):
    for row in settings.build(TASKS).per_task().values():
        assert row.shape == (3,)
        assert row.isfinite().all()
        assert not row.requires_grad


@every_method
def test_an_overflow_does_not_change_the_state(settings):
    weighting = settings.build(TASKS)
    weighting.begin(LOSSES)
    Stretch(weighting).run(range(1, 5))
    weighting.observe(torch.tensor([0.1, torch.inf, torch.nan]))
    weighting.look_again(torch.tensor([0.1, torch.nan, torch.inf]))
    assert Stretch(weighting).run(range(5, 130)).isfinite().all()


@every_method_of_positive_losses
def test_a_negative_loss_is_refused(settings):
    with pytest.raises(ValueError, match=rf"{settings.kind} weighting needs .* never negative; found 0\.8, -0\.1"):
        settings.build(TASKS[:2])(torch.tensor([0.8, -0.1]), START)


@pytest.mark.parametrize("kind", [FixedSettings, GradNormSettings, DwaSettings, DecaySettings, AlternatingSettings])
def test_a_single_task_has_a_weight_of_one(kind):
    weighting = kind().build(("classification",))
    assert weighting(torch.tensor([0.5]), START).weights.tolist() == [1.0]


@every_method
def test_parameters_of_a_weighting_have_no_weight_decay(settings):
    assert settings.build(TASKS).weight_decay == 0


def test_fixed_weights_are_set_by_task_name():
    weighting = FixedSettings(weights={"classification": 3.0}).build(TASKS)
    assert weighting(LOSSES, START).weights.tolist() == [1.0, 3.0, 1.0]
    assert weighting.active(START) is None


def test_a_fixed_weight_of_zero_makes_the_task_inactive():
    weighting = FixedSettings(weights={"reconstruction": 0.0}).build(TASKS)
    assert weighting.active(START) == (False, True, True)


def test_fixed_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="the weights of classification are all 0, so nothing would be learned"):
        FixedSettings(weights={"classification": 0.0}).build(("classification",))


def test_a_weight_for_a_task_that_is_not_learned_is_refused():
    with pytest.raises(ValidationError, match="weights are set for classification"):
        Stage(
            name="s", trains=("decoder",), losses=("reconstruction",), epochs=1,
            weighting=FixedSettings(weights={"classification": 1.0}),
        )  # fmt: skip


@pytest.mark.parametrize("kind", [BanditSettings, DecaySettings])
def test_the_main_task_is_one_of_the_stage(kind):
    with pytest.raises(ValueError, match=r"weighting\.main is 'classification', but the stage's losses are recon"):
        kind().build(("reconstruction",))


def test_a_running_mean_is_unbiased_from_its_first_value():
    mean = RunningMean(2, beta=0.9)
    assert mean(torch.tensor([2.0, 4.0])).tolist() == pytest.approx([2.0, 4.0])
    # (0.9 * 0.1 * 2 + 0.1 * 5) / (1 - 0.81) = 0.68 / 0.19
    assert mean(torch.tensor([5.0, 4.0])).tolist() == pytest.approx([0.68 / 0.19, 4.0])
    assert mean(torch.tensor([torch.nan, 4.0])).tolist() == pytest.approx([0.68 / 0.19, 4.0])
