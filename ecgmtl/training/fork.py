"""The two branches of ForkMerge in training: their steps, their merge, and a state to resume from."""

from collections import deque
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecgmtl.config.run import Config
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.model.normalization import BatchNorm, BatchNormByView
from ecgmtl.optimization.diagnostics import part
from ecgmtl.optimization.forkmerge import ForkSettings, merge_moments, merge_states
from ecgmtl.optimization.optimizer import WeightAverage
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.tracking import names
from ecgmtl.training.step import Learner, Step, random_state, set_random_state, trained_parts
from ecgmtl.training.validation import validate

ALPHA, HELD_OUT_LOSS = "fork_alpha", "fork_held_out_loss"
"""Names of the figures of a merge."""
ALONE = "loss_alone."
"""Prefix of a main task's training loss in the branch that learns it alone."""
N_STATISTICS = 8
"""Number of batches from which BatchNorm's statistics are estimated after an interpolation."""
STATISTICS = ("running_mean", "running_var", "masked_mean", "masked_var")
"""Names of a norm's statistics."""


class Fork:
    """Branches of a stage that start from one network: the main task alone, and all tasks. See `ForkSettings`.

    - The EMA weights, which are validated and kept, are merged, and so are the weights from which training continues.
      An EMA is linear, so the merged one is the EMA of the merged weights.
    - BatchNorm's statistics are those of the main task alone, plus the difference that the interpolation makes on the
      same batches, as the main task sees them. Interpolated statistics would be wrong: the activations of an
      interpolated network vary less than these state (Jordan et al., ICLR 2023), and masked records have moved those of
      the branch with all tasks. Statistics estimated from few batches would add their noise to every alpha but 0.
    - Heads of auxiliary tasks are those of the branch that trains them. Interpolated with their values at the fork,
      they would learn nothing where alpha is 0.
    - The weighting, the gradient rule and the diagnostics belong to the branch with all tasks, which keeps their state:
      the losses that they have seen are those of a network a few epochs of training away.
    """

    def __init__(self, joint: Learner, settings: ForkSettings, config: Config, train: Split, held_out: Split) -> None:
        self.joint, self.settings, self.held_out = joint, settings, held_out
        self.alone = Learner(deepcopy(joint.model), joint.stage.main_alone, config, train)
        self.shared = shared_names(self.alone)
        self.statistics = {name for name in self.shared if name.rpartition(".")[2] in STATISTICS}
        self.average = WeightAverage(joint.model, 0.0)
        """Merged EMA weights."""
        self.alpha = 0.0
        self.losses: list[Tensor] = []
        """Main loss of each step of this epoch in the branch that learns it alone."""
        self.recent: deque[Batch] = deque(maxlen=N_STATISTICS)
        """Latest batches of that branch in this epoch."""
        self.reference: dict[str, Tensor] = {}
        """BatchNorm statistics that these batches give with the EMA weights of that branch."""

    def step(self, batch: Batch, moment: Moment) -> Step:
        """Update both branches with the same records and the same state of dropout; return the figures of all tasks.

        The random state continues from that of the main task alone, so this branch equals training without a fork.
        """
        device = self.joint.device
        before = random_state(device)
        self.recent.append(self.of_main(batch))
        self.losses.append(self.alone.step(self.recent[-1], moment).losses[0])
        after = random_state(device)
        set_random_state(device, before)
        step = self.joint.step(batch, moment)
        set_random_state(device, after)
        return step

    def of_main(self, batch: Batch) -> Batch:
        """Return the batch that the main task alone would have: one view of each record, masked only if it needs it."""
        stage = self.alone.stage
        first = part(batch, slice(None, None, self.joint.stage.n_views // stage.n_views))
        if stage.masks:
            return first._replace(clean=None)
        return (first.clean or first)._replace(mask=None, scored=None, clean=None)

    def take_losses(self) -> dict[str, np.ndarray]:
        """Return the main losses of an epoch's steps by name, and forget them."""
        losses = torch.stack(self.losses).cpu().numpy()
        self.losses = []
        return {f"{ALONE}{self.alone.stage.selected_by}": losses}

    def merge(self, epoch: int) -> dict[str, float]:
        """Choose alpha after an epoch and set `average`. Where a new fork begins, both branches take the merged state.

        Returns: alpha and the main loss on the held-out patients.
        """
        self.reference = self.estimate_statistics(self.alone.average.mean)
        losses = {alpha: self.held_out_loss(alpha) for alpha in self.settings.alphas}
        self.alpha = min(losses, key=lambda alpha: np.nan_to_num(losses[alpha], nan=np.inf))
        self.interpolate(self.alpha)
        if (epoch + 1) % self.settings.every == 0:
            self.continue_from_merge()
        self.recent.clear()  # a resumed run begins without any
        return {ALPHA: self.alpha, HELD_OUT_LOSS: losses[self.alpha]}

    def held_out_loss(self, alpha: float) -> float:
        self.interpolate(alpha)
        stage = self.alone.stage
        return validate(self.average.model, stage, self.held_out)[names.loss(stage.selected_by)]

    def interpolate(self, alpha: float) -> None:
        """Set `average` to the interpolated EMA weights, with BatchNorm statistics of their own."""
        own = self.alone.average.mean
        merged = merge_states(own, self.joint.average.mean, self.shared, alpha)
        if alpha:
            for name, estimate in self.estimate_statistics(merged).items():
                corrected = own[name] + estimate - self.reference[name]
                merged[name] = corrected.maximum(estimate / 2) if name.endswith("_var") else corrected
        self.average.model.load_state_dict(merged)

    @torch.no_grad()
    def estimate_statistics(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means of BatchNorm's statistics over the epoch's latest batches; the same in layers not run."""
        model, stage = deepcopy(self.average.model), self.alone.stage
        model.load_state_dict(weights)
        norms = [module for module in model.modules() if isinstance(module, BatchNorm | BatchNormByView)]
        for norm in norms:
            norm.train()
        for number, batch in enumerate(self.recent if norms else ()):
            for norm in norms:
                norm.momentum = 1 / (number + 1)  # a plain mean
            model(batch.encoder_input, batch.mask, stage.heads)
        return {name: value for name, value in model.state_dict().items() if name in self.statistics}

    def continue_from_merge(self) -> None:
        """Give both branches the merged weights, EMA weights and moments of the optimizer."""
        branches = (self.alone, self.joint)
        merged = merge_states(self.alone.model.state_dict(), self.joint.model.state_dict(), self.shared, self.alpha)
        for branch in branches:
            branch.model.load_state_dict(merged)
            branch.average.model.load_state_dict(self.average.mean)
        one, other = (dict(branch.model.named_parameters()) for branch in branches)
        pairs = [(one[name], other[name]) for name in self.shared if name in one]
        merge_moments(self.alone.optimizer, self.joint.optimizer, pairs, self.alpha)

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha} | {name: getattr(self, name).state_dict() for name in STATEFUL}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.alpha = state["alpha"]
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])


STATEFUL = ("alone", "average")


def shared_names(learner: Learner) -> list[str]:
    """Return the names of the weights and statistics that a learner trains; those of masked input if it masks."""
    parts = trained_parts(learner.model, learner.stage)
    trained = {id(value) for each in parts for value in each.state_dict(keep_vars=True).values()}
    names = [name for name, value in learner.model.state_dict(keep_vars=True).items() if id(value) in trained]
    return [name for name in names if learner.stage.masks or not name.endswith((".masked_mean", ".masked_var"))]
