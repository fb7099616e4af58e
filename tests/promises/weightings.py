"""A weighting in training, without a network."""

import numpy as np
import torch

from ecgmtl.optimization.weighting import Moment


class Stretch:
    """A weighting in training, called as a Learner calls it, on losses that are a function of the step alone."""

    n_steps, epoch_steps = 200, 40

    def __init__(self, weighting):
        self.weighting = weighting
        own = [*weighting.parameters(), torch.nn.Parameter(torch.zeros(1))]
        self.optimizer = torch.optim.AdamW(own, lr=weighting.lr, weight_decay=weighting.weight_decay)

    def losses(self, step):
        falls = 1 - step / self.n_steps * torch.tensor([0.2, 0.5, 0.9])
        return torch.tensor([0.8, 0.3, 0.1]) * falls * (1.1 + torch.sin(step * torch.tensor([1.0, 2.0, 3.0])))

    def run(self, steps):
        """The weights of these steps."""
        if steps.start == 0:
            self.weighting.begin(self.losses(0))
        return torch.stack([self.step(step) for step in steps])

    def step(self, step):
        moment = Moment(step, step // self.epoch_steps, step / self.n_steps)
        learned = torch.tensor(self.weighting.active(moment) or (True, True, True))
        if self.weighting.norms_every and step % self.weighting.norms_every == 0:
            self.weighting.observe(self.losses(step + 1).sqrt())
        weights, objective = self.weighting(torch.where(learned, self.losses(step), 0.0), moment)
        self.optimizer.zero_grad()
        if objective is not None:
            objective.backward()
        self.optimizer.step()
        self.after(step)
        assert torch.equal(weights > 0, learned)
        return weights.clone()

    def after(self, step):
        if self.weighting.looks_again:
            self.weighting.look_again(self.losses(step + 0.1))
        if self.weighting.reward_every and (step + 1) % self.weighting.reward_every == 0:
            self.weighting.reward(float(np.sin(step)))
        if (step + 1) % self.epoch_steps == 0:
            self.weighting.end_epoch()
