import math

import pytest
import torch

from ecgmtl.data.batch import Batch
from ecgmtl.tasks import LossInput, ReconstructionSettings, TaskSettings, build_task
from tests.losses import batch_of, cost, decoded, loss


def test_the_reconstruction_loss_weights_samples_by_their_score(model):
    signals = torch.full((1, 12, 4), 0.5)  # 1 in standardized units
    scored = torch.zeros(1, 8, 4)
    scored[0, 0, :2], scored[0, 5, 3] = 1.0, 0.5
    reconstructed = torch.ones(1, 8, 4)
    reconstructed[0, 0, 0], reconstructed[0, 5, 3], reconstructed[0, 7, 0] = 3.0, 2.0, 99.0
    # errors 2 and 0 counted once, 1 counted half, 98 not at all: (4 + 0 + 0.5) / 2.5
    assert cost("reconstruction", model, decoded(reconstructed), batch_of(signals, scored)) == pytest.approx(4.5 / 2.5)


def test_the_reconstruction_target_is_the_clean_signal_not_the_augmented_input(model):
    signals = torch.randn(1, 12, 4)
    batch = batch_of(signals, torch.ones(1, 8, 4))._replace(input=torch.randn(1, 12, 4))
    assert cost("reconstruction", model, decoded(model.standardize.basis(signals)), batch) == 0


def test_the_huber_loss_is_linear_in_large_errors(model):
    reconstructed = torch.zeros(1, 8, 2)
    reconstructed[0, 0, 0], reconstructed[0, 0, 1] = 0.5, 10.0
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))
    # below delta 1 the square, 0.25; above it 2 (10 - 1/2) = 19; the other 14 errors are 0
    found = cost(
        "reconstruction",
        model,
        decoded(reconstructed),
        batch,
        ReconstructionSettings(kind="huber"),
    )
    assert found == pytest.approx((0.25 + 19) / 16)


def test_beta_nll_is_the_likelihood_weighted_by_the_variance(model):
    reconstructed, log_var = torch.full((1, 8, 2), 2.0), torch.full((1, 8, 2), math.log(4.0))
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))
    scoring = ReconstructionSettings(kind="beta_nll", beta=0.5, warmup=0.2)
    # sqrt(4) (log 4 + 2^2 / 4) / 2
    found = cost("reconstruction", model, decoded(reconstructed, log_var), batch, scoring)
    assert found == pytest.approx(2 * (math.log(4) + 1) / 2)
    assert cost("reconstruction", model, decoded(reconstructed, log_var), batch, scoring, progress=0.1) == 4.0


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_interpolates_between_likelihood_and_squared_error(model, beta):
    reconstructed = torch.full((1, 8, 1), 3.0, requires_grad=True)
    log_var = torch.full((1, 8, 1), math.log(9.0))
    batch = batch_of(torch.zeros(1, 12, 1), torch.ones(1, 8, 1))
    settings = ReconstructionSettings(kind="beta_nll", beta=beta)
    loss("reconstruction", model, decoded(reconstructed, log_var), batch, settings).backward()
    # the likelihood's gradient, error / variance, is multiplied by variance^beta; the loss is a mean over 8 samples
    torch.testing.assert_close(reconstructed.grad, torch.full((1, 8, 1), 3.0 / 9.0 * 9.0**beta / 8))


def test_a_shuffled_target_is_the_signal_of_another_record(model):
    signals = torch.randn(3, 12, 4)
    reconstructed = model.standardize.basis(signals).roll(1, dims=0)
    batch = Batch(signals, torch.zeros(3, 2), scored=torch.ones(3, 8, 4))
    assert (
        cost(
            "reconstruction",
            model,
            decoded(reconstructed),
            batch,
            ReconstructionSettings(target="shuffled"),
        )
        == 0
    )
    assert cost("reconstruction", model, decoded(reconstructed), batch) > 0


def test_segments_are_normalized_by_their_own_mean_and_deviation(model):
    signals = torch.randn(2, 12, 11)
    settings = ReconstructionSettings(target="segments", segment=4)
    rows = model.standardize.basis(signals)
    parts = [rows[..., :4], rows[..., 4:]]  # the last three samples belong to the segment before
    means = [part - part.mean(dim=-1, keepdim=True) for part in parts]
    expected = torch.cat([part / (part.std(dim=-1, correction=0, keepdim=True) + 0.1) for part in means], dim=-1)
    batch = Batch(signals, torch.zeros(2, 2), scored=torch.ones(2, 8, 11))
    assert cost("reconstruction", model, decoded(expected), batch, settings) == pytest.approx(0, abs=1e-10)
    task = build_task("reconstruction", TaskSettings(reconstruction=settings))
    assert task.validated_as().measure(LossInput(model, decoded(expected), batch, 1.0)) == {}
