import pytest
import torch

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.alternating import AlternatingSettings

PAIR = ("reconstruction", "classification")


def learned(settings, moments):
    weighting = settings.build(PAIR)
    rows = [weighting.active(moment) for moment in moments]
    weights = [weighting(torch.ones(2), moment).weights for moment in moments]
    assert torch.equal(torch.tensor(rows).float(), torch.stack(weights))
    return [PAIR[row.index(True)][0] for row in rows]


def test_tasks_alternate_by_step():
    settings = AlternatingSettings(turns={"classification": 3})
    assert "".join(learned(settings, [Moment(step, 0, 0.0) for step in range(9)])) == "rcccrcccr"


def test_tasks_alternate_by_epoch():
    settings = AlternatingSettings(by="epoch", turns={"reconstruction": 2})
    assert "".join(learned(settings, [Moment(step, step // 2, 0.0) for step in range(10)])) == "rrrrccrrrr"


def test_turns_of_tasks_outside_the_stage_are_refused():
    with pytest.raises(ValueError, match="turns are set for rhythm; the stage's losses are reconstruction, classif"):
        AlternatingSettings(turns={"rhythm": 2}).build(PAIR)
