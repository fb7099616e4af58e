import math

import pytest
import torch

from ecgmtl.config import Config
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.losses import LOSSES
from ecgmtl.model import Batch, Output


@pytest.fixture
def model():
    model = Config(encoder=CnnSettings(widths=(8, 8))).build_model(2, 1)
    model.standardise.std.fill_(0.5)  # 1 mV is 2 units
    return model


def batch_of(signals, scored=None, auxiliary=None):
    return Batch(signals, torch.tensor([[1.0, 0.0]]), auxiliary, scored=scored)


def test_a_sample_counts_in_the_reconstruction_as_it_is_scored(model):
    signals = torch.full((1, 12, 4), 0.5)  # 1 in standardised units
    scored = torch.zeros(1, 8, 4)
    scored[0, 0, :2], scored[0, 5, 3] = 1.0, 0.5
    drawn = torch.ones(1, 8, 4)
    drawn[0, 0, 0], drawn[0, 5, 3], drawn[0, 7, 0] = 3.0, 2.0, 99.0
    # errors 2 and 0 counted once, 1 counted half, 98 not at all: (4 + 0 + 0.5) / 2.5
    loss = LOSSES["reconstruction"].loss(model, Output(drawn), batch_of(signals, scored))
    assert loss.item() == pytest.approx(4.5 / 2.5)


def test_the_reconstruction_is_compared_with_the_signals_not_with_what_was_seen(model):
    signals = torch.randn(1, 12, 4)
    batch = batch_of(signals, torch.ones(1, 8, 4))._replace(seen=torch.randn(1, 12, 4))
    assert LOSSES["reconstruction"].loss(model, Output(model.standardise.basis(signals)), batch) == 0


def test_classification_is_the_mean_cross_entropy(model):
    output = Output(logits=torch.tensor([[math.log(3), 0.0]]))  # probabilities 3/4 and 1/2
    loss = LOSSES["classification"].loss(model, output, batch_of(torch.zeros(1, 12, 4)))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_the_auxiliary_loss_reads_the_second_labels(model):
    output = Output(auxiliary_logits=torch.tensor([[-math.log(3)]]))  # probability 1/4
    batch = batch_of(torch.zeros(1, 12, 4), auxiliary=torch.tensor([[1.0]]))
    assert LOSSES["auxiliary_classification"].loss(model, output, batch).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("task", LOSSES)
def test_a_loss_without_its_output_says_what_it_needs(model, task):
    with pytest.raises(ValueError, match="need"):
        LOSSES[task].loss(model, Output(), batch_of(torch.zeros(1, 12, 4)))
