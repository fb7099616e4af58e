import math

import pytest
import torch

from ecgmtl.data.batch import Batch
from ecgmtl.tasks import LossInput, build_task
from tests.losses import batch_of, cost


def test_the_contrastive_loss_is_low_when_only_views_of_one_record_are_similar(model):
    embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 3.0]])  # two records, two views each
    found = cost("contrastive", model, {"contrastive": embedding}, batch_of(torch.zeros(1, 12, 4)))
    assert found == pytest.approx(math.log(1 + 2 * math.exp(-1 / 0.2)))  # cosine 1 to the partner, 0 to two others
    mixed = cost("contrastive", model, {"contrastive": embedding[[0, 2, 1, 3]]}, batch_of(torch.zeros(1, 12, 4)))
    assert mixed == pytest.approx(math.log(2 + math.exp(1 / 0.2)), rel=1e-4)


def test_the_contrastive_loss_of_a_single_record_is_zero():
    batch = Batch(torch.zeros(2, 12, 4), torch.zeros(2, 2))
    inputs = LossInput(None, {"contrastive": torch.randn(2, 3)}, batch, 0.0)
    assert build_task("contrastive").loss(inputs).item() == 0
    assert build_task("contrastive").untrained(1) == 0
    assert build_task("contrastive").untrained(2) == pytest.approx(math.log(3))
