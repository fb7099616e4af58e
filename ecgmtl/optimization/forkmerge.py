"""ForkMerge: settings, and the interpolation of two networks and of their optimizers' states."""

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.optimization.weighting import Weighting
from ecgmtl.settings import Settings
from ecgmtl.tasks import MAIN, StageFacts

Alpha = Annotated[float, Field(ge=0, le=1)]


class ForkSettings(Settings):
    r"""Settings of ForkMerge (Jiang et al., NeurIPS 2023, arXiv 2301.12618).

    One branch learns the main task alone, the other all tasks of the stage with its weighting, on the same records.
    After every epoch :math:`\theta = (1 - \alpha)\,\theta_0 + \alpha\,\theta_\lambda` is evaluated and kept with the
    :math:`\alpha` whose main loss on held-out patients is lowest.
    """

    every: PositiveInt = 2
    """Epochs from one fork to the next: both branches then continue from the merged network."""
    alphas: tuple[Alpha, ...] = Field((0.0, 0.25, 0.5, 0.75, 1.0), min_length=1)
    """Fractions of the branch with all tasks to choose from; of equally good ones the first is taken.

    [0] and [1] are controls: either branch alone, trained without the held-out patients."""
    patients: float = Field(0.1, gt=0, lt=1)
    """Fraction of the training patients with labels that is held out to choose alpha."""

    def check(self, stage: StageFacts, weighting: Weighting, trains: tuple[str, ...]) -> None:
        """Raise ValueError where the stage has nothing to fork, or no score to merge by."""
        if len(stage.tasks) < 2:
            raise ValueError(
                f"stage '{stage.name}': fork trains the main task with and without the others, and the stage learns "
                f"{stage.main.name} alone; add a loss, or leave fork out"
            )
        if "encoder" not in trains:
            raise ValueError(
                f"stage '{stage.name}': fork merges encoders, and the stage trains none; add encoder to trains, or "
                f"leave fork out"
            )
        if "teachers" in stage.main.needs:
            raise ValueError(
                f"stage '{stage.name}': fork merges by the main loss on held-out labels, and {stage.main.name} learns "
                f"none; add {MAIN} to the losses"
            )
        if weighting.reward_patients:
            raise ValueError(
                f"stage '{stage.name}': fork and the weighting would both choose by the same held-out patients, so "
                f"that neither choice could be trusted; use fixed weights, or leave fork out"
            )


@torch.no_grad()
def merge_states(
    alone: Mapping[str, Tensor], joint: Mapping[str, Tensor], shared: Iterable[str], alpha: float
) -> dict[str, Tensor]:
    r"""Return :math:`(1 - \alpha)\,\theta_0 + \alpha\,\theta_\lambda` of the shared entries, and the others of `joint`.

    The result is exactly one of the two where alpha is 0 or 1. Entries that are not floats count batches.
    """
    interpolated = {name: alone[name].lerp(joint[name], alpha) for name in shared if joint[name].is_floating_point()}
    return {name: interpolated.get(name, value).clone() for name, value in joint.items()}


@torch.no_grad()
def merge_moments(
    alone: torch.optim.Optimizer,
    joint: torch.optim.Optimizer,
    pairs: Iterable[tuple[nn.Parameter, nn.Parameter]],
    alpha: float,
) -> None:
    r"""Give both optimizers the interpolated moments, and numbers of steps, of these pairs of parameters.

    Adam's first moment is linear in the gradients, so the result is the moment of the gradients that were merged. Its
    second one is a mean of squares and stays positive. A parameter that only one branch has updated keeps its moments.
    """
    for one, other in pairs:
        first, second = alone.state.get(one, {}), joint.state.get(other, {})
        either = first or second
        merged = {key: first[key].lerp(second[key], alpha) if first and second else either[key] for key in either}
        for optimizer, parameter in ((alone, one), (joint, other)):
            if merged:
                optimizer.state[parameter] = {key: value.clone() for key, value in merged.items()}
