"""One update of the network: losses, task weights, the combined gradient, and the step of the optimizer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage, View
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.device import autocast, compiled
from ecgmtl.model.network import MultiTaskModel
from ecgmtl.model.normalization import BatchNorm
from ecgmtl.optimization.diagnostics import GradientDiagnostics, half_gradients
from ecgmtl.optimization.gradients import combined_backward, gradient_norms, trainable
from ecgmtl.optimization.optimizer import WeightAverage, build_optimizer, layer_rates, set_lr
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.ranks import average_over_ranks, n_ranks
from ecgmtl.tasks import LossInput, build_task, losses_of
from ecgmtl.tasks.labels import prevalence
from ecgmtl.training.teachers import Teaching

CLEAN_FIRST: tuple[View, ...] = ("clean", "masked")
"""Order of the passes of a step: what is read in the masked view may be compared with the clean one."""


class Step(NamedTuple):
    """Figures of one update. They stay on the device, so that nothing waits for them."""

    losses: Float[Tensor, " task"]
    """Plain losses; NaN where a task is left out of this step."""
    weights: Float[Tensor, " task"]
    extras: dict[str, Float[Tensor, " task"]]
    """Figures of the weighting itself by name, such as `log_var`."""
    gradient_norm: Float[Tensor, ""]
    """Norm of the whole gradient before it is clipped."""


class Learner:
    """One stage's optimization loop body. Its full mutable state is in `state_dict`."""

    def __init__(self, model: MultiTaskModel, stage: Stage, config: Config, train: Split) -> None:
        freeze(model, stage)
        device = train.device
        self.model, self.stage, self.device, self.precision = model, stage, device, config.precision
        self.network = compiled(model) if config.compile else model
        self.weighting = stage.weighting.build(stage.losses, config.seed).to(device)
        known = prevalence(train)
        self.tasks = tuple(build_task(name, stage, known) for name in stage.losses)
        untrained = {task.name: task.untrained(stage.batch_size) for task in self.tasks}
        self.weighting.expect(untrained)
        self.untrained = torch.tensor([untrained[task] for task in stage.losses], device=device)
        self.rule = stage.gradients.build(stage.losses, config.seed).to(device)
        self.main = stage.losses.index(stage.selected_by)
        self.diagnostics = GradientDiagnostics(stage.losses, stage.selected_by, stage.diagnostics).to(device)
        layers = layer_rates(model, stage.optimizer)
        self.optimizer = build_optimizer(layers, self.weighting, stage.optimizer)
        self.average = WeightAverage(model, stage.optimizer.ema)
        self.teaching = Teaching(model, self.average, stage, train, config)
        self.trained = trainable(list(model.parameters()))
        self.shared = trainable(model.encoder.shared(stage.heads))
        self.others = [p for p in self.trained if all(p is not s for s in self.shared)]
        self.last_shared = trainable(model.encoder.last_shared(stage.heads))
        self.norms = [norm for norm in model.encoder.modules() if isinstance(norm, BatchNorm)]
        self.begun = False

    def active(self, moment: Moment) -> tuple[bool, ...]:
        """Return whether each task is learned at this step."""
        return self.weighting.active(moment) or (True,) * len(self.stage.losses)

    def losses(
        self, batch: Batch, active: tuple[bool, ...], progress: float, network: nn.Module | None = None
    ) -> list[Tensor]:
        """Return the tasks' losses in their order, each the mean over the views that its task reads."""
        learned = [task for task, now in zip(self.tasks, active, strict=True) if now]
        inputs: dict[View, LossInput] = {}
        for view in CLEAN_FIRST:
            heads = tuple(dict.fromkeys(task.reads for task in learned if view in self.stage.views_of(task.name)))
            if heads:
                seen = batch if view == "masked" else clean_view(batch)
                clean = inputs["clean"].outputs if "clean" in inputs else None
                inputs[view] = LossInput(self.model, self.read(seen, heads, network), seen, progress, clean)
        return losses_of(
            self.tasks, active, lambda task: [inputs[v] for v in self.stage.views_of(task.name)], self.device
        )

    def read(self, batch: Batch, heads: tuple[str, ...], network: nn.Module | None) -> dict[str, Any]:
        """Run the network on one view of a batch. In a masked view beside a clean one, statistics may stay."""
        kept = self.norms if batch.clean is not None and self.stage.statistics == "clean" else ()
        with autocast(self.precision, self.device), statistics_kept(kept):
            outputs: dict[str, Any] = (network or self.network)(
                batch.encoder_input, batch.mask, heads, self.stage.flow or None, batch.clean is not None
            )
        return outputs

    def begin(self, batch: Batch) -> None:
        """Start the weighting from the losses of the stage's first batch.

        A batch without masked samples has losses of 0, which the losses of an untrained network replace.
        """
        everything = (True,) * len(self.stage.losses)
        with restored_on_exit(self.model), torch.no_grad():
            values = average_over_ranks(torch.stack(self.losses(batch, everything, 0.0)))
            self.weighting.begin(torch.where(values == 0, self.untrained, values))
        self.begun = True

    def step(self, batch: Batch, moment: Moment) -> Step:
        """Update the weights once."""
        batch = self.teaching(batch)
        if not self.begun:
            self.begin(batch)
        set_lr(self.optimizer, self.stage.optimizer.lr_at(moment.progress))
        self.optimizer.zero_grad()
        active = self.active(moment)
        dropout_state = random_state(self.device) if self.weighting.looks_again else None
        losses = self.losses(batch, active, moment.progress)
        values = torch.stack(losses).detach()
        weights = self.backward(losses, average_over_ranks(values), moment)
        norm = nn.utils.clip_grad_norm_(self.trained, self.stage.optimizer.clip or torch.inf)
        self.optimizer.step()
        self.average.update(self.model)
        if dropout_state is not None:
            self.look_again(batch, active, moment, dropout_state)
        return self.as_step(values, weights, norm, active)

    def as_step(self, values: Tensor, weights: Tensor, norm: Tensor, active: tuple[bool, ...]) -> Step:
        """Return copies of the figures, because weightings change their own in place at the next step."""
        shown = [value if now else torch.full_like(value, torch.nan) for value, now in zip(values, active, strict=True)]
        extras = {name: value.clone() for name, value in self.weighting.per_task().items()}
        return Step(torch.stack(shown), weights.clone(), extras, norm)

    def backward(self, losses: list[Tensor], values: Tensor, moment: Moment) -> Tensor:
        """Compute the gradients of all trained parameters, and return the weights of the tasks."""
        if self.weighting.norms_every and moment.step % self.weighting.norms_every == 0:
            self.weighting.observe(gradient_norms(losses, self.last_shared))
        weighted = self.weighting(values, moment)
        combined_backward(losses, weighted.weights, self.rule, self.shared, self.others, self.main, moment.step)
        penalty = self.model.encoder.penalty()
        if penalty is not None and penalty.requires_grad:  # it is a constant where the encoders are frozen
            penalty.backward()
        if weighted.objective is not None:
            weighted.objective.backward()
        return weighted.weights

    def look_again(self, batch: Batch, active: tuple[bool, ...], moment: Moment, dropout_state: Tensor) -> None:
        """Pass on the losses of the same batch and dropout after the step, as some weightings learn from the fall."""
        with restored_on_exit(self.model), torch.no_grad():
            set_random_state(self.device, dropout_state)
            self.weighting.look_again(average_over_ranks(torch.stack(self.losses(batch, active, moment.progress))))

    def probe(self, batch: Batch, moment: Moment, weights: Tensor) -> dict[str, Tensor]:
        """Return diagnostics of the tasks' gradients on the two halves of a batch. Nothing else changes."""
        active = self.active(moment)
        if not all(active) or not self.last_shared:
            return {}
        batch = self.teaching(batch)

        def losses_on(half: Batch) -> list[Tensor]:
            return self.losses(half, active, moment.progress, self.model)

        n_half = len(batch.labels) // (2 * self.stage.n_views)
        if not n_half:
            return {}
        first, second = half_gradients(losses_on, batch, n_half * self.stage.n_views, self.last_shared, self.model)
        rows = average_over_ranks(torch.stack([first, second]))
        return self.diagnostics.observe(rows[0], rows[1], weights, 2 * n_half * n_ranks())

    def state_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in STATEFUL}
        return {"begun": self.begun, **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.begun = state["begun"]
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])


STATEFUL = ("model", "average", "optimizer", "weighting", "rule", "diagnostics")


def freeze(model: MultiTaskModel, stage: Stage) -> None:
    """Train the stage's parts and freeze the others, which in eval mode keep their BatchNorm statistics too."""
    for part in model.children():
        part.train(False).requires_grad_(False)
    for part in trained_parts(model, stage):
        part.train().requires_grad_()


def trained_parts(model: MultiTaskModel, stage: Stage) -> Iterator[nn.Module]:
    """Yield the encoder and the heads that the stage's `trains` names."""
    if "encoder" in stage.trains:
        yield model.encoder
    for name, head in model.heads.items():
        if build_task(name).part in stage.trains:
            yield head


def random_state(device: torch.device) -> Tensor:
    """Random-generator state that dropout uses on `device`."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def clean_view(batch: Batch) -> Batch:
    """Return the unmasked view of a batch.

    Raises:
        ValueError: the batch has one view only.
    """
    if batch.clean is None:
        raise ValueError("a task reads the clean view, but the batch has none; make it by Batches of the same stage")
    return batch.clean


@contextmanager
def statistics_kept(norms: Sequence[BatchNorm]) -> Iterator[None]:
    """Keep running statistics, while batches are still normalized by their own."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def restored_on_exit(model: nn.Module) -> Iterator[None]:
    """Restore BatchNorm statistics and torch's random state on exit."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng():
        yield
    for buffer, value in kept:
        buffer.copy_(value)
