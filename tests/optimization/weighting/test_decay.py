import pytest
import torch
from pydantic import ValidationError

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.decay import DecaySettings
from tests.promises.family import TASKS

LOSSES = torch.tensor([0.8, 0.3, 0.1])


def at(progress):
    return Moment(step=round(100 * progress), epoch=0, progress=progress)


@pytest.mark.parametrize(
    ("settings", "expected"),  # at 0, 1/4, 1/2 and 1 of the steps
    [
        ({"shape": "linear", "start": 0.5, "floor": 0.1}, [0.5, 0.375, 0.25, 0.1]),
        ({"shape": "cosine", "start": 1.0}, [1.0, 0.853553, 0.5, 0.0]),
        ({"shape": "exponential", "start": 1.0, "rate": 0.01}, [1.0, 0.316228, 0.1, 0.01]),
        ({"shape": "step", "start": 0.8, "n_steps": 4}, [0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_auxiliary_weights_follow_the_formula(settings, expected):
    decay = DecaySettings(**settings)
    assert [decay.weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(expected, abs=1e-6)


def test_decay_never_weakens_the_main_task():
    weighting = DecaySettings(start=0.5, shape="linear").build(TASKS)
    for progress in (0.0, 0.5, 1.0):
        auxiliary = 0.5 * (1 - progress)
        assert weighting(LOSSES, at(progress)).weights.tolist() == pytest.approx([auxiliary, 1.0, auxiliary])


def test_only_tasks_named_auxiliary_fade():
    weighting = DecaySettings(start=0.5, shape="linear", auxiliary=(TASKS[0],)).build(TASKS)
    assert weighting(LOSSES, at(0.5)).weights.tolist() == pytest.approx([0.25, 1.0, 1.0])
    assert weighting.active(at(1.0)) == (False, True, True)


@pytest.mark.parametrize(
    ("auxiliary", "said"),
    [(("age",), "names age; the stage's losses are"), (("classification",), "which is weighting.main")],
)
def test_tasks_that_cannot_fade_are_refused(auxiliary, said):
    with pytest.raises(ValueError, match=said):
        DecaySettings(auxiliary=auxiliary).build(TASKS)


def test_auxiliary_tasks_are_inactive_when_their_weight_is_exactly_zero():
    weighting = DecaySettings(start=0.5, shape="linear").build(TASKS)
    assert weighting.active(at(0.99)) is None
    assert weighting.active(at(1.0)) == (False, True, False)


def test_the_mean_weight_of_the_documented_decay_is_a_quarter():
    # max(0.5 (1 - e/E), 0.1) over E = 80 epochs: 65 of them fall from 0.5 by 1/160 to 0.1, 15 stay there
    decay = DecaySettings(shape="linear", start=0.5, floor=0.1)
    by_hand = sum(max(0.5 * (1 - epoch / 80), 0.1) for epoch in range(80)) / 80
    assert by_hand == pytest.approx(0.2625)
    assert sum(decay.weight(epoch / 80) for epoch in range(80)) / 80 == pytest.approx(0.2625)


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential", "step"])
def test_auxiliary_weights_never_rise_or_fall_below_the_floor(shape):
    decay = DecaySettings(shape=shape, start=0.7, floor=0.2, rate=0.3)
    weights = [decay.weight(step / 100) for step in range(101)]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == 0.7
    assert weights[-1] >= 0.2


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"start": 0.1, "floor": 0.2}, "floor should be lower"), ({"rate": 5}, "less than or equal to 1")],
)
def test_a_decay_that_rises_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        DecaySettings(**settings)
