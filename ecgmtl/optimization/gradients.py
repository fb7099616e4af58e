"""The tasks' gradients, one each, from one forward pass; and the one gradient that a rule makes of them."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ecgmtl.device import average_over_ranks
from ecgmtl.optimization.gradient_rules import GradientRule, Sum

Gradients = list[Tensor | None]
"""One a parameter; None where a loss does not depend on it."""


def combined_backward(
    losses: Sequence[Float[Tensor, ""]],
    weights: Float[Tensor, " task"],
    rule: GradientRule,
    shared: Sequence[nn.Parameter],
    others: Sequence[nn.Parameter],
    main: int,
    step: int,
) -> None:
    r"""Set `.grad` of all learnt parameters: by the rule where tasks share them, else to :math:`\sum_i w_i \nabla L_i`.

    The losses are scalars with their graphs, not one stacked tensor: each entry's backward pass would run through the
    graphs of all. A parameter that no loss depends on is left without gradient, as a plain backward pass leaves it.
    Over ranks, gradients are averaged before the rule sees them; every rank has to learn the same tasks. What else
    belongs into the gradients of a step, such as a penalty's, is to be added afterwards.

    main: index of the main task; step: of the stage, from 0.
    """
    shared, others = learnt(shared), learnt(others)
    factors = weights.detach().float()
    if isinstance(rule, Sum) or not shared:
        total = (torch.stack([loss.float() for loss in losses]) * factors).sum()
        assign([*shared, *others], averaged(each_gradient([total], [*shared, *others])[0]))
        return
    found = each_gradient(losses, [*shared, *others])
    rows = average_over_ranks(as_rows([gradients[: len(shared)] for gradients in found], shared, losses[0].device))
    with torch.autocast(rows.device.type, enabled=False):
        combined = rule.combine(rows.mul_(factors[:, None]), main, step)
    columns = list(zip(*found, strict=True))  # a parameter each
    pieces = combined.split([parameter.numel() for parameter in shared])
    is_used = [any(gradient is not None for gradient in column) for column in columns]
    assign(shared, [piece if used else None for piece, used in zip(pieces, is_used[: len(shared)], strict=True)])
    assign(others, averaged([weighted_sum(column, factors) for column in columns[len(shared) :]]))


def task_gradients(
    losses: Sequence[Float[Tensor, ""]], shared: Sequence[nn.Parameter], own: Sequence[nn.Parameter]
) -> tuple[Float32[Tensor, "task parameter"], list[Gradients]]:
    """Each task's gradient in the shared parameters as a row, and its gradients in the others, one by one.

    Frozen parameters are left out of both. The row of a loss that does not reach the shared parameters is zero. The
    graphs are used up.
    """
    shared, own = learnt(shared), learnt(own)
    found = each_gradient(losses, [*shared, *own])
    rows = as_rows([gradients[: len(shared)] for gradients in found], shared, losses[0].device)
    return rows, [gradients[len(shared) :] for gradients in found]


def gradient_norms(losses: Sequence[Float[Tensor, ""]], parameters: Sequence[nn.Parameter]) -> Float32[Tensor, " task"]:
    """Length of each loss's gradient, averaged over ranks, in these parameters; 0 where a loss does not reach them.

    The graphs are kept for the step that follows.
    """
    parameters = learnt(parameters)
    rows = as_rows(each_gradient(losses, parameters, keep=True), parameters, losses[0].device)
    return average_over_ranks(rows).norm(dim=1)


def learnt(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def each_gradient(
    losses: Sequence[Float[Tensor, ""]], parameters: Sequence[nn.Parameter], keep: bool = False
) -> list[Gradients]:
    """One backward pass a loss; all but the last keep what the losses share of their graphs, the last with `keep`."""
    found: list[Gradients] = []
    for i, loss in enumerate(losses):
        if not (loss.requires_grad and parameters):
            found.append([None] * len(parameters))
            continue
        keeps = keep or i < len(losses) - 1
        found.append(list(torch.autograd.grad(loss, parameters, retain_graph=keeps, allow_unused=True)))
    return found


def as_rows(
    found: list[Gradients], parameters: Sequence[nn.Parameter], device: torch.device
) -> Float32[Tensor, "task parameter"]:
    """All gradients of a loss one after the other; zeros where it has none."""
    flat = [
        parameter.new_zeros(parameter.numel()) if gradient is None else gradient.flatten()
        for gradients in found
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    n_values = sum(parameter.numel() for parameter in parameters)
    return torch.cat([torch.zeros(0, device=device), *flat]).view(len(found), n_values).float()


def weighted_sum(gradients: Sequence[Tensor | None], weights: Float[Tensor, " task"]) -> Tensor | None:
    parts = [weight * gradient for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]
    return torch.stack(parts).sum(dim=0) if len(parts) > 1 else next(iter(parts), None)


def averaged(gradients: Gradients) -> Gradients:
    """The gradients that there are, each the mean over the ranks, in one exchange."""
    given = [gradient for gradient in gradients if gradient is not None]
    if not given or not (dist.is_available() and dist.is_initialized()):
        return gradients
    flat = average_over_ranks(torch.cat([gradient.flatten() for gradient in given]))
    means = iter(flat.split([gradient.numel() for gradient in given]))
    return [None if gradient is None else next(means) for gradient in gradients]


def assign(parameters: Sequence[nn.Parameter], gradients: Gradients) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else laid_out(gradient.view_as(parameter), parameter)


def laid_out(gradient: Tensor, parameter: nn.Parameter) -> Tensor:
    """In the parameter's order of memory: a fused optimizer walks both side by side and does not look at strides."""
    if gradient.stride() == parameter.stride():
        return gradient.to(parameter.dtype)
    return torch.empty_like(parameter).copy_(gradient)
