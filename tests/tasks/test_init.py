import math

import pytest
import torch

from ecgmtl.tasks import TASKS, LossInput, build_task, losses_of
from tests.losses import batch_of, cost


@pytest.mark.parametrize("task", [*TASKS, "classification_rhythm"])
def test_a_loss_without_its_output_is_refused_with_what_it_needs(model, task):
    with pytest.raises(ValueError, match="need"):
        cost(task, model, {}, batch_of(torch.zeros(1, 12, 4)))


def test_the_loss_of_an_inactive_task_is_a_constant_zero(model):
    logits = torch.zeros(1, 2, requires_grad=True)
    inputs = LossInput(model, {"classification": logits}, batch_of(torch.zeros(1, 12, 4)), 0.0)
    losses = losses_of(
        [build_task("reconstruction"), build_task("classification")], (False, True), lambda _: [inputs], logits.device
    )
    assert [loss.item() for loss in losses] == pytest.approx([0.0, math.log(2)])
    assert [loss.requires_grad for loss in losses] == [False, True]


def test_the_likelihood_depends_on_the_kind_of_task():
    kinds = [
        build_task(task).likelihood
        for task in ("reconstruction", "consistency", "latent", "classification", "classification_all", "contrastive")
    ]
    assert kinds == ["gaussian"] * 3 + ["bernoulli"] * 3
