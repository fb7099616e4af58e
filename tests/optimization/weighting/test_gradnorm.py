import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from tests.promises.family import TASKS
from tests.promises.weightings import Stretch

PAIR = ("reconstruction", "classification")
START = Moment(step=0, epoch=0, progress=0.0)


class Pair(nn.Module):
    """Two tasks on one layer."""

    def __init__(self):
        super().__init__()
        self.shared, self.decoder, self.classifier = nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(5, 1)
        self.rows, self.labels = torch.randn(16, 4), (torch.rand(16, 1) < 0.4).float()

    def losses(self):
        features = torch.tanh(self.shared(self.rows))
        classification = F.binary_cross_entropy_with_logits(self.classifier(features), self.labels)
        return torch.stack([F.mse_loss(self.decoder(features), self.rows), classification])


def norms_of(losses, weight):
    return torch.stack([torch.autograd.grad(loss, weight, retain_graph=True)[0].norm() for loss in losses])


@pytest.mark.parametrize("alpha", [0.0, 0.12, 1.5])
def test_gradnorms_gradient_is_that_of_the_paper_through_the_whole_network(alpha):
    model, logits = Pair(), torch.tensor([0.4, -0.3], requires_grad=True)
    losses = model.losses()
    weights = 2 * torch.softmax(logits, dim=0)
    scaled = [torch.autograd.grad(w * loss, model.shared.weight, create_graph=True)[0].norm()
              for w, loss in zip(weights, losses, strict=True)]  # fmt: skip
    left = losses.detach() / torch.tensor([1.0, math.log(2)])
    target = torch.stack(scaled).mean().detach() * (left / left.mean()) ** alpha
    (torch.stack(scaled) - target).abs().sum().backward(retain_graph=True)

    weighting = GradNormSettings(alpha=alpha).build(PAIR)
    with torch.no_grad():
        weighting.logits.copy_(logits)
    weighting.observe(norms_of(losses, model.shared.weight))
    weighting(losses.detach(), START).objective.backward()
    torch.testing.assert_close(weighting.logits.grad, logits.grad)


def test_the_weights_objective_does_not_change_the_networks_gradient():
    model = Pair()
    parameters = list(model.parameters())
    weighting = GradNormSettings().build(PAIR)
    losses = model.losses()
    weighting.observe(norms_of(losses, model.shared.weight))
    weights, objective = weighting(losses.detach(), START)
    alone = torch.autograd.grad((weights * losses).sum(), parameters, retain_graph=True)
    objective.backward()
    assert all(parameter.grad is None for parameter in parameters)
    (weights * losses).sum().backward()
    assert all(torch.equal(parameter.grad, gradient) for parameter, gradient in zip(parameters, alone, strict=True))


def test_with_alpha_zero_all_gradients_become_equally_long():
    weighting = GradNormSettings(alpha=0.0, every=1).build(TASKS)
    optimizer = torch.optim.AdamW(weighting.parameters(), lr=weighting.lr, weight_decay=weighting.weight_decay)
    norms = torch.tensor([1.0, 5.0, 0.2])
    for step in range(400):
        weighting.observe(norms)
        weights, objective = weighting(torch.tensor([0.8, 0.3, 0.1]), Moment(step, 0, 0.0))
        assert weights.sum().item() == pytest.approx(3.0, rel=1e-5)
        assert (weights > 0).all()
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    scaled = weights * norms
    assert (scaled / scaled.mean()).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.1)


def test_a_task_whose_loss_falls_slowly_gains_weight():
    weighting = GradNormSettings(alpha=1.5).build(PAIR)
    weighting.observe(torch.ones(2))
    # of reconstruction 0.9 are left, of classification 0.3 log 2: rates 1.5 and 0.5
    _, objective = weighting(torch.tensor([0.9, 0.3 * math.log(2)]), START)
    objective.backward()
    assert weighting.rate.tolist() == pytest.approx([1.5, 0.5])
    assert weighting.logits.grad[0] < 0 < weighting.logits.grad[1]


def test_a_pretrained_reconstruction_does_not_count_as_slow():
    pretrained = torch.tensor([0.1, 0.6])
    weighting = GradNormSettings().build(PAIR)
    weighting.begin(pretrained)
    weighting(pretrained, START)
    # 0.1 of it and 0.6 / log 2 = 0.8656 of the other are left
    assert weighting.rate.tolist() == pytest.approx([0.1 / 0.48281, 0.86562 / 0.48281], rel=1e-4)


def test_starting_losses_are_configured_by_task():
    weighting = GradNormSettings(start={"classification": 0.4}).build(PAIR)
    assert weighting.start.tolist() == pytest.approx([1.0, 0.4])
    with pytest.raises(ValueError, match="starting losses are set for rhythm; the stage's losses are recon"):
        GradNormSettings(start={"rhythm": 0.4}).build(PAIR)


def test_weights_change_only_after_observed_norms_and_never_after_until():
    weights = Stretch(GradNormSettings(every=10, until=0.5).build(TASKS)).run(range(200))
    changed = [step for step in range(1, 200) if not torch.equal(weights[step], weights[step - 1])]
    assert changed == list(range(1, 100, 10))


def test_a_task_without_a_gradient_keeps_the_objectives_gradient_finite():
    weighting = GradNormSettings().build(PAIR)
    weighting.observe(torch.zeros(2))
    weighting(torch.zeros(2), START).objective.backward()
    assert weighting.logits.grad.isfinite().all()
