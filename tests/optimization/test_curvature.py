"""Curvature beside a dense Hessian and a dense tangent kernel of a tiny network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecgmtl.optimization.curvature import (
    alignment,
    centered_alignment,
    effective_rank,
    hessian_product,
    hutchinson_trace,
    tangent_kernels,
    top_eigenvalues,
)

N_RECORDS, N_LABELS = 9, 2


@pytest.fixture
def problem():
    """A network with 31 parameters, one of which no output depends on, its inputs and labels, in double."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, N_LABELS)).double()
    network.register_parameter("unused", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    return network, torch.randn(N_RECORDS, 4).double(), torch.arange(18).remainder(5).reshape(9, 2).lt(2).double()


def loss_of(network, x, labels):
    return F.binary_cross_entropy_with_logits(network(x), labels)


def flat(parameters):
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def at(network, vector):
    """The parameters of the network by name, taken from a vector."""
    parts = vector.split([parameter.numel() for parameter in network.parameters()])
    return {k: part.view_as(p) for (k, p), part in zip(network.named_parameters(), parts, strict=True)}


def dense_hessian(network, x, labels):
    def loss(vector):
        return F.binary_cross_entropy_with_logits(
            torch.func.functional_call(network, at(network, vector), (x,)), labels
        )

    return torch.autograd.functional.hessian(loss, flat(network.parameters()))


def test_products_with_the_hessian_are_those_of_the_dense_one(problem):
    network, *data = problem
    product, dense = hessian_product(loss_of(network, *data), list(network.parameters())), dense_hessian(network, *data)
    vectors = torch.randn(3, len(dense)).double()
    torch.testing.assert_close(torch.stack([product(vector) for vector in vectors]), vectors @ dense)


def test_the_largest_eigenvalues_are_those_of_the_dense_hessian(problem):
    network, *data = problem
    product, dense = hessian_product(loss_of(network, *data), list(network.parameters())), dense_hessian(network, *data)
    largest = torch.linalg.eigvalsh(dense).flip(0)
    top = top_eigenvalues(product, torch.randn(len(dense)).double(), 4, iterations=len(dense))
    torch.testing.assert_close(top, largest[:4], rtol=1e-6, atol=1e-9)
    few = top_eigenvalues(product, torch.randn(len(dense)).double(), 1, iterations=12)
    torch.testing.assert_close(few, largest[:1], rtol=1e-3, atol=0)


def test_an_eigenvalue_that_occurs_twice_or_a_zero_matrix_ends_the_iterations():
    matrix = torch.diag(torch.tensor([3.0, 3.0, 1.0, 0.0]).double())
    top = top_eigenvalues(lambda v: matrix @ v, torch.ones(4).double(), 4, 30)
    torch.testing.assert_close(top, torch.tensor([3.0, 1.0, 0.0]).double())  # a Krylov space has it once
    assert top_eigenvalues(torch.zeros_like, torch.ones(4).double(), 2, 30).tolist() == [0.0]


def test_eigenvalues_in_single_precision_agree_with_double(problem):
    network, *data = problem
    dense = dense_hessian(network, *data)
    single = [value.float() for value in data]
    product = hessian_product(loss_of(network.float(), *single), list(network.parameters()))
    top = top_eigenvalues(product, torch.randn(len(dense)), 2, 30)
    torch.testing.assert_close(top, torch.linalg.eigvalsh(dense).flip(0)[:2], rtol=1e-4, atol=0)


def test_the_trace_is_that_of_the_dense_hessian(problem):
    network, *data = problem
    product, dense = hessian_product(loss_of(network, *data), list(network.parameters())), dense_hessian(network, *data)
    signs = torch.randint(0, 2, (400, len(dense))).double() * 2 - 1
    error = (2 * (dense.square().sum() - dense.diagonal().square().sum()) / 400).sqrt()  # of signs (Hutchinson)
    assert abs(hutchinson_trace(product, signs) - dense.trace()) < 4 * error
    diagonal = torch.arange(5.0).double()
    assert hutchinson_trace(lambda v: diagonal * v, signs[:1, :5]) == 10  # exact where the matrix is diagonal


def test_tangent_kernels_are_those_of_the_dense_jacobian(problem):
    network, x, _ = problem
    parameters = list(network.parameters())
    kernels = tangent_kernels(lambda i: network(x[i : i + 1])[0], N_RECORDS, parameters)

    def outputs(vector):
        return torch.func.functional_call(network, at(network, vector), (x,))

    jacobian = torch.autograd.functional.jacobian(outputs, flat(parameters))
    expected = torch.einsum("ikp,jkp->kij", jacobian, jacobian)
    torch.testing.assert_close(kernels, expected)


def test_a_kernel_of_the_labels_themselves_is_aligned_and_one_without_them_is_not():
    labels = torch.tensor([1.0, 1, 0, 0, 0, 0])
    signs, odd = 2 * labels.double() - 1, torch.tensor([1.0, -1, 1, -1, 0, 0]).double()
    assert alignment(torch.outer(signs, signs), labels) == pytest.approx(1)
    assert centered_alignment(torch.outer(signs, signs) + 7, labels) == pytest.approx(1)
    assert alignment(torch.outer(odd, odd), labels) == pytest.approx(0)
    constant = torch.ones(6, 6).double()
    assert alignment(constant, labels) == pytest.approx((2 / 6) ** 2)  # rare labels align with a constant
    kernel = torch.randn(6, 6).double()
    kernel = kernel @ kernel.T
    assert centered_alignment(kernel, labels) == pytest.approx(float(centered_alignment(kernel + 3, labels)))
    frobenius = float((kernel * torch.outer(signs, signs)).sum() / (kernel.norm() * torch.outer(signs, signs).norm()))
    assert alignment(kernel, labels) == pytest.approx(frobenius)


@pytest.mark.parametrize(("spectrum", "rank"), [([1.0, 1, 1, 1], 4), ([5.0, 0, 0, 0], 1)])
def test_the_effective_rank_counts_equal_eigenvalues(spectrum, rank):
    assert effective_rank(torch.diag(torch.tensor(spectrum).double())) == pytest.approx(rank)
