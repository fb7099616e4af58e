"""Gradients of several tasks from one forward pass, combined into one by a rule."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ecgmtl.optimization.gradient_rules import GradientRule, Sum
from ecgmtl.ranks import average_over_ranks, is_parallel

Gradients = list[Tensor | None]
"""Gradients of one loss, by parameter; None where the loss does not depend on it."""


def combined_backward(
    losses: Sequence[Float[Tensor, ""]],
    weights: Float[Tensor, " task"],
    rule: GradientRule,
    shared: Sequence[nn.Parameter],
    others: Sequence[nn.Parameter],
    main: int,
    step: int,
) -> None:
    r"""Set `.grad` of all trainable parameters, by the rule where tasks share them, else :math:`\sum_i w_i \nabla L_i`.

    The losses are scalars with their graphs, not one stacked tensor: each entry's backward pass would run through the
    graphs of all. A parameter on which no loss depends gets no gradient, as in a plain backward pass. Gradients are
    averaged over ranks before the rule combines them, so every rank must learn the same tasks. Other gradients of a
    step, such as a penalty's, are to be added afterwards.

    main: index of the main task; step: index of the step in its stage.
    """
    shared, others = trainable(shared), trainable(others)
    factors = weights.detach().float()
    if isinstance(rule, Sum) or not shared:
        total = (torch.stack([loss.float() for loss in losses]) * factors).sum()
        assign([*shared, *others], averaged(each_gradient([total], [*shared, *others])[0]))
        return
    each = each_gradient(losses, [*shared, *others])
    rows = average_over_ranks(as_rows([gradients[: len(shared)] for gradients in each], shared, losses[0].device))
    with torch.autocast(rows.device.type, enabled=False):
        combined = rule.combine(rows.mul_(factors[:, None]), main, step)
    columns = list(zip(*each, strict=True))  # a parameter each
    pieces = combined.split([parameter.numel() for parameter in shared])
    is_used = [any(gradient is not None for gradient in column) for column in columns]
    assign(shared, [piece if used else None for piece, used in zip(pieces, is_used[: len(shared)], strict=True)])
    assign(others, averaged([weighted_sum(column, factors) for column in columns[len(shared) :]]))


def task_gradients(
    losses: Sequence[Float[Tensor, ""]], shared: Sequence[nn.Parameter], own: Sequence[nn.Parameter]
) -> tuple[Float32[Tensor, "task parameter"], list[Gradients]]:
    """Return each task's gradient in the shared parameters as a row, and its gradients in the others as a list.

    Frozen parameters are left out of both. The row of a loss that does not depend on the shared parameters is zero.
    The graphs are freed.
    """
    shared, own = trainable(shared), trainable(own)
    each = each_gradient(losses, [*shared, *own])
    rows = as_rows([gradients[: len(shared)] for gradients in each], shared, losses[0].device)
    return rows, [gradients[len(shared) :] for gradients in each]


def gradient_norms(losses: Sequence[Float[Tensor, ""]], parameters: Sequence[nn.Parameter]) -> Float32[Tensor, " task"]:
    """Return the norm of each loss's gradient in these parameters, averaged over ranks; 0 where there is none.

    The graphs are kept for the step that follows.
    """
    parameters = trainable(parameters)
    rows = as_rows(each_gradient(losses, parameters, keep=True), parameters, losses[0].device)
    return average_over_ranks(rows).norm(dim=1)


def trainable(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def each_gradient(
    losses: Sequence[Float[Tensor, ""]], parameters: Sequence[nn.Parameter], keep: bool = False
) -> list[Gradients]:
    """Run a backward pass for each loss. All but the last keep the shared graphs, and the last does so with `keep`."""
    each: list[Gradients] = []
    for i, loss in enumerate(losses):
        if not (loss.requires_grad and parameters):
            each.append([None] * len(parameters))
            continue
        keeps = keep or i < len(losses) - 1
        each.append(list(torch.autograd.grad(loss, parameters, retain_graph=keeps, allow_unused=True)))
    return each


def as_rows(
    each: list[Gradients], parameters: Sequence[nn.Parameter], device: torch.device
) -> Float32[Tensor, "task parameter"]:
    """Concatenate the gradients of each loss into a row, with zeros where it has none."""
    flat = [
        parameter.new_zeros(parameter.numel()) if gradient is None else gradient.flatten()
        for gradients in each
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    n_values = sum(parameter.numel() for parameter in parameters)
    return torch.cat([torch.zeros(0, device=device), *flat]).view(len(each), n_values).float()


def weighted_sum(gradients: Sequence[Tensor | None], weights: Float[Tensor, " task"]) -> Tensor | None:
    """Add up the weighted gradients of one parameter; None where no loss has any."""
    parts = [weight * gradient for weight, gradient in zip(weights, gradients, strict=True) if gradient is not None]
    return torch.stack(parts).sum(dim=0) if len(parts) > 1 else next(iter(parts), None)


def averaged(gradients: Gradients) -> Gradients:
    """Average the gradients over the ranks, in one exchange."""
    present = [gradient for gradient in gradients if gradient is not None]
    if not present or not is_parallel():
        return gradients
    flat = average_over_ranks(torch.cat([gradient.flatten() for gradient in present]))
    means = iter(flat.split([gradient.numel() for gradient in present]))
    return [None if gradient is None else next(means) for gradient in gradients]


def assign(parameters: Sequence[nn.Parameter], gradients: Gradients) -> None:
    """Set `.grad` of each parameter."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = None if gradient is None else laid_out(gradient.view_as(parameter), parameter)


def laid_out(gradient: Tensor, parameter: nn.Parameter) -> Tensor:
    """Return the gradient in the parameter's memory layout, since a fused optimizer ignores strides."""
    if gradient.stride() == parameter.stride():
        return gradient.to(parameter.dtype)
    return torch.empty_like(parameter).copy_(gradient)
