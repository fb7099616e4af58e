"""Held-out training patients, who are not trained on: they reward a weighting, or choose a merge."""

from ecgmtl.data.split import Split
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.ranks import from_first
from ecgmtl.tracking import names
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.sample_key import SampleKey
from ecgmtl.training.step import Learner, freeze
from ecgmtl.training.validation import validate


def hold_out(learner: Learner, train: Split, seed: int) -> tuple[Split | None, Split]:
    """Return the held-out patients, who reward a weighting or choose a merge, and those to train on.

    Raises:
        TrainingError: nobody with labels is left to train on.
    """
    stage = learner.stage
    share = stage.fork.patients if stage.fork else learner.weighting.reward_patients
    if not share:
        return None, train
    held_out = train.sample_patients(share, (seed, SampleKey.REWARD), train.labeled)
    if not train.labeled[~held_out].any():
        raise TrainingError(
            f"stage '{stage.name}': of {train.labeled.sum()} labeled records none is left to train "
            f"on beside those that {'choose the merge' if stage.fork else 'reward the weighting'}; label more "
            f"records, or {'leave fork out' if stage.fork else 'use another weighting'}."
        )
    return train.select(held_out), train.select(~held_out)


def reward_weighting(learner: Learner, held_out: Split, moment: Moment) -> None:
    """Reward the weighting with the score of the main task on these patients, if it is due after this step."""
    stage, weighting = learner.stage, learner.weighting
    if not weighting.reward_every or (moment.step + 1) % weighting.reward_every:
        return
    only = stage.model_copy(update={"losses": (stage.selected_by,)})
    figures = from_first(lambda: validate(learner.model, only, held_out))
    weighting.reward(-figures[names.loss(stage.selected_by)])
    freeze(learner.model, stage)
