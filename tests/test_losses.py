import math

import pytest
import torch

from ecgmtl.config import Config
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.heads import DecoderSettings
from ecgmtl.losses import LOSSES, ReconstructionSettings, Seen, likelihood_of, loss_of, losses_of
from ecgmtl.model import Batch, Output

PLAIN = ReconstructionSettings()


def build(leads=8):
    config = Config(encoder=CnnSettings(widths=(8, 8)), decoder=DecoderSettings(leads=leads))
    model = config.build_model(2, {"rhythm": 1})
    model.standardise.std.fill_(0.5)  # 1 mV is 2 units
    return model


@pytest.fixture
def model():
    return build()


def batch_of(signals, scored=None, rhythm=None):
    second = {} if rhythm is None else {"rhythm": rhythm}
    return Batch(signals, torch.tensor([[1.0, 0.0]]), second, scored=scored)


def cost(task, model, output, batch, scoring=PLAIN, progress=1.0):
    return loss_of(task, Seen(model, output, batch, scoring, progress)).item()


def test_a_sample_counts_in_the_reconstruction_as_it_is_scored(model):
    signals = torch.full((1, 12, 4), 0.5)  # 1 in standardised units
    scored = torch.zeros(1, 8, 4)
    scored[0, 0, :2], scored[0, 5, 3] = 1.0, 0.5
    drawn = torch.ones(1, 8, 4)
    drawn[0, 0, 0], drawn[0, 5, 3], drawn[0, 7, 0] = 3.0, 2.0, 99.0
    # errors 2 and 0 counted once, 1 counted half, 98 not at all: (4 + 0 + 0.5) / 2.5
    assert cost("reconstruction", model, Output(drawn), batch_of(signals, scored)) == pytest.approx(4.5 / 2.5)


def test_the_reconstruction_is_compared_with_the_signals_not_with_what_was_seen(model):
    signals = torch.randn(1, 12, 4)
    batch = batch_of(signals, torch.ones(1, 8, 4))._replace(seen=torch.randn(1, 12, 4))
    assert cost("reconstruction", model, Output(model.standardise.basis(signals)), batch) == 0


def test_huber_counts_large_errors_linearly(model):
    drawn = torch.zeros(1, 8, 2)
    drawn[0, 0, 0], drawn[0, 0, 1] = 0.5, 10.0
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))
    # below delta 1 the square, 0.25; above it 2 (10 - 1/2) = 19; the other 14 samples are right
    found = cost("reconstruction", model, Output(drawn), batch, ReconstructionSettings(kind="huber"))
    assert found == pytest.approx((0.25 + 19) / 16)


def test_beta_nll_is_the_weighted_likelihood_of_its_variance(model):
    drawn, log_var = torch.full((1, 8, 2), 2.0), torch.full((1, 8, 2), math.log(4.0))
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))
    scoring = ReconstructionSettings(kind="beta_nll", beta=0.5, warmup=0.2)
    # sqrt(4) (log 4 + 2^2 / 4) / 2
    found = cost("reconstruction", model, Output(drawn, log_var=log_var), batch, scoring)
    assert found == pytest.approx(2 * (math.log(4) + 1) / 2)
    assert cost("reconstruction", model, Output(drawn, log_var=log_var), batch, scoring, progress=0.1) == 4.0


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_weighs_samples_between_likelihood_and_squared_error(model, beta):
    drawn = torch.full((1, 8, 1), 3.0, requires_grad=True)
    log_var = torch.full((1, 8, 1), math.log(9.0))
    batch = batch_of(torch.zeros(1, 12, 1), torch.ones(1, 8, 1))
    seen = Seen(model, Output(drawn, log_var=log_var), batch, ReconstructionSettings(kind="beta_nll", beta=beta), 1.0)
    loss_of("reconstruction", seen).backward()
    # of the mean's gradient, error / variance is the likelihood's; the factor is variance^beta; a mean over 8 samples
    torch.testing.assert_close(drawn.grad, torch.full((1, 8, 1), 3.0 / 9.0 * 9.0**beta / 8))


def test_a_shuffled_target_is_another_records(model):
    signals = torch.randn(3, 12, 4)
    drawn = model.standardise.basis(signals).roll(1, dims=0)
    batch = Batch(signals, torch.zeros(3, 2), scored=torch.ones(3, 8, 4))
    assert cost("reconstruction", model, Output(drawn), batch, ReconstructionSettings(target="shuffled")) == 0
    assert cost("reconstruction", model, Output(drawn), batch) > 0


def test_consistency_is_the_violation_of_the_identities_of_the_leads():
    model = build(leads=12)
    model.standardise.mean.fill_(0.1)
    signals = model.lead_algebra @ torch.randn(1, 8, 5)  # mV, which the identities hold for
    drawn = model.standardise(signals)
    batch = batch_of(signals, torch.ones(1, 8, 5))
    assert cost("consistency", model, Output(drawn), batch) == pytest.approx(0, abs=1e-10)
    drawn[:, 2] += 2.0  # lead III alone, by 2 units at each of 5 samples: 4 in one of 4 derived leads
    assert cost("consistency", model, Output(drawn), batch) == pytest.approx(1.0, rel=1e-4)


def test_classification_is_the_mean_cross_entropy(model):
    output = Output(logits=torch.tensor([[math.log(3), 0.0]]))  # probabilities 3/4 and 1/2
    found = cost("classification", model, output, batch_of(torch.zeros(1, 12, 4)))
    assert found == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_a_further_classifier_reads_its_own_labels(model):
    output = Output(auxiliary_logits={"rhythm": torch.tensor([[-math.log(3)]])})  # probability 1/4
    batch = batch_of(torch.zeros(1, 12, 4), rhythm=torch.tensor([[1.0]]))
    assert cost("classification_rhythm", model, output, batch) == pytest.approx(math.log(4))


@pytest.mark.parametrize("task", [*LOSSES, "classification_rhythm"])
def test_a_loss_without_its_output_says_what_it_needs(model, task):
    with pytest.raises(ValueError, match="need"):
        cost(task, model, Output(), batch_of(torch.zeros(1, 12, 4)))


def test_a_task_that_is_not_learnt_now_is_a_constant_zero(model):
    logits = torch.zeros(1, 2, requires_grad=True)
    seen = Seen(model, Output(logits=logits), batch_of(torch.zeros(1, 12, 4)), PLAIN, 0.0)
    losses = losses_of(("reconstruction", "classification"), (False, True), seen)
    assert [loss.item() for loss in losses] == pytest.approx([0.0, math.log(2)])
    assert [loss.requires_grad for loss in losses] == [False, True]


def test_likelihoods_go_by_the_kind_of_task():
    kinds = [likelihood_of(task) for task in ("reconstruction", "consistency", "classification", "classification_all")]
    assert kinds == ["gaussian", "gaussian", "bernoulli", "bernoulli"]
