"""Curvature of a loss and tangent kernel of a network: eigenvalues, trace, and alignment with the labels.

All functions use products with vectors or gradients of single records, never a matrix with a row for each parameter.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ecgmtl.settings import Settings

Vector = Float[Tensor, " parameter"]
Product = Callable[[Vector], Vector]
"""Product of a symmetric matrix with a vector."""


class CurvatureSettings(Settings):
    """Settings of the curvature diagnostics."""

    records: int = Field(32, ge=2)
    """Number of labeled training records, the same at each measurement, whole and not augmented."""
    eigenvalues: PositiveInt = 3
    """Number of largest eigenvalues that are logged, of the Hessian and of the tangent kernel."""
    iterations: PositiveInt = 15
    """Iterations of Lanczos' method, each a product with the Hessian."""
    probes: PositiveInt = 5
    """Random vectors of Hutchinson's estimate of the Hessian's trace, each a product with the Hessian."""


def hessian_product(loss: Float[Tensor, ""], parameters: Sequence[nn.Parameter]) -> Product:
    r"""Return the product of a loss's Hessian with a vector, :math:`\nabla (v \cdot \nabla L)` (Pearlmutter, 1994).

    The loss's graph is kept as long as the function.
    """
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])

    def product(vector: Vector) -> Vector:
        if not flat.requires_grad:  # a loss that is linear in all parameters
            return torch.zeros_like(vector)
        parts = torch.autograd.grad(flat, parameters, vector, retain_graph=True, materialize_grads=True)
        return torch.cat([each.flatten() for each in parts])

    return product


def top_eigenvalues(product: Product, start: Vector, n: int, iterations: int) -> Float64[Tensor, " eigenvalue"]:
    """Return the `n` largest eigenvalues, or Ritz values where `iterations` are few, by Lanczos' method.

    Each new vector is orthogonalized against all before, twice, because rounding would bring back large eigenvalues as
    copies. There are fewer values where the start lies in a smaller invariant space.
    """
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for _ in range(min(iterations, len(start))):
        vector = product(basis[-1])
        diagonal.append(vector.double() @ basis[-1].double())
        known = torch.stack(basis)
        for _ in range(2):
            vector = vector - (known @ vector) @ known
        norm = vector.norm()
        if norm <= 1e-6 * torch.stack(diagonal).abs().max():  # an invariant space is complete
            break
        beside.append(norm.double())
        basis.append(vector / norm)
    band = torch.diag(torch.stack(diagonal))
    for i, value in enumerate(beside[: len(diagonal) - 1]):
        band[i, i + 1] = band[i + 1, i] = value
    return torch.linalg.eigvalsh(band).flip(0)[:n]


def hutchinson_trace(product: Product, signs: Float[Tensor, "probe parameter"]) -> Float64[Tensor, ""]:
    r"""Estimate the trace as the mean of :math:`v \cdot H v` over vectors of random signs (Hutchinson, 1990)."""
    return torch.stack([probe.double() @ product(probe).double() for probe in signs]).mean()


def tangent_kernels(
    outputs_of: Callable[[int], Float[Tensor, " output"]], n_records: int, parameters: Sequence[nn.Parameter]
) -> Float64[Tensor, "output record record"]:
    r"""Compute :math:`K^k_{ij} = \nabla f_k(x_i) \cdot \nabla f_k(x_j)` for each output k (Jacot et al., NeurIPS 2018).

    outputs_of: computes the outputs of one record, by its index.
    """
    n_outputs = len(outputs_of(0))
    kernels = []
    for k in range(n_outputs):  # one output at a time: a gradient for each record has to fit into memory
        gradients = [
            torch.autograd.grad(outputs_of(i)[k], parameters, materialize_grads=True) for i in range(n_records)
        ]
        rows = torch.stack([torch.cat([each.flatten() for each in row]) for row in gradients])
        kernels.append((rows @ rows.T).double())
    return torch.stack(kernels)


def alignment(kernel: Float64[Tensor, "record record"], labels: Float[Tensor, " record"]) -> Float64[Tensor, ""]:
    r"""Compute :math:`\langle K, y y^T \rangle / (n \lVert K \rVert)`, y = ±1 (Cristianini et al., NeurIPS 2001)."""
    signs = 2 * labels.double() - 1
    return (signs @ kernel @ signs) / (len(signs) * kernel.norm())


def centered_alignment(
    kernel: Float64[Tensor, "record record"], labels: Float[Tensor, " record"]
) -> Float64[Tensor, ""]:
    """Compute the alignment of centered kernels (Cortes et al., JMLR 2012), which a constant kernel does not raise.

    It is NaN where all labels are the same.
    """
    labels = labels.double() - labels.double().mean()
    kernel = kernel - kernel.mean(dim=0)
    kernel = kernel - kernel.mean(dim=1, keepdim=True)
    return (labels @ kernel @ labels) / (labels.square().sum() * kernel.norm())


def effective_rank(kernel: Float64[Tensor, "record record"]) -> Float64[Tensor, ""]:
    r"""Compute :math:`(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2`, how many directions a kernel spreads over."""
    return kernel.trace().square() / kernel.square().sum()
