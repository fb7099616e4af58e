"""The tasks' gradients on the two halves of a batch, taken without leaving a trace in the model."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from ecgmtl.gradients import task_gradients
from ecgmtl.model import Batch

Held = Tensor | dict[str, Tensor] | None
"""What a batch is made of."""


def half_gradients(
    losses_of: Callable[[Batch], Sequence[Tensor]],
    batch: Batch,
    n_half: int,
    parameters: Sequence[nn.Parameter],
    model: nn.Module,
) -> tuple[Float32[Tensor, "task parameter"], Float32[Tensor, "task parameter"]]:
    """Each loss's gradient by the parameters, a row a loss, on the first and the second `n_half` of the batch.

    What is left of it is left out. The whole model is in eval mode meanwhile, because BatchNorm would
    make the halves depend on their own statistics; afterwards it is as before, and so are gradients and the state of
    random numbers. `losses_of` should call the plain model: a compiled one would be compiled anew for half a batch.

    Raises:
        ValueError: there are fewer than two records, or parameters that have no gradient.
    """
    if not n_half:
        raise ValueError(f"a probe needs at least 2 records, one a half; the batch has {len(batch.signals)}")
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        raise ValueError("a probe needs parameters that learn; the layer is frozen, or the tasks share none")
    halves = (part(batch, slice(0, n_half)), part(batch, slice(n_half, 2 * n_half)))
    devices = [batch.signals.device] if batch.signals.is_cuda else []
    with evaluating(model), torch.random.fork_rng(devices), torch.enable_grad():
        first, second = (task_gradients(losses_of(half), parameters, [])[0] for half in halves)
    return first, second


def part(batch: Batch, where: slice) -> Batch:
    """Some records of a batch."""

    def cut(field: Held) -> Held:
        if isinstance(field, dict):
            return {name: values[where] for name, values in field.items()}
        return None if field is None else field[where]

    return Batch._make(cut(field) for field in batch)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode within, and every module's own flag as before afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        yield
    finally:
        for module, training in flags:
            module.training = training
