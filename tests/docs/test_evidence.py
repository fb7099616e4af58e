"""The errors that docs/evidence.md lists, each shown by running what is said there, beside what this project does."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from docs.make.page import END, filled
from ecgmtl.model.heads import ClassifierSettings, pool
from ecgmtl.optimization.optimizer import OptimizerSettings, build_optimizer
from ecgmtl.optimization.weighting import Moment
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings

START = Moment(step=0, epoch=0, progress=0.0)
EPOCHS, BASELINE, AUXILIARY = (10, 20, 50), (2.34, 1.56, 0.89), (1.87, 1.21, 0.76)
"""The documents' table for CIFAR-100."""


def test_an_image_of_32_pixels_leaves_13_by_13_places_not_12():
    layers = nn.Sequential(nn.Conv2d(3, 64, 3), nn.MaxPool2d(2), nn.Conv2d(64, 128, 3), nn.Flatten())
    features = layers(torch.randn(2, 3, 32, 32))  # 32 -> 30 -> 15 -> 13
    assert features.shape[1] == 128 * 13 * 13
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        nn.Linear(128 * 12 * 12, 100)(features)


def test_ten_labels_do_not_go_with_a_whole_batch_of_outputs():
    with pytest.raises(ValueError, match="to match target batch_size"):
        nn.CrossEntropyLoss()(torch.randn(32, 10), torch.zeros(32, dtype=torch.long)[:10])


def test_a_head_of_ten_classes_has_no_place_for_the_57th():
    with pytest.raises(IndexError, match="Target 57 is out of bounds"):
        nn.CrossEntropyLoss()(torch.randn(2, 10), torch.tensor([3, 57]))


def test_dropout_called_by_hand_stays_on_in_evaluation():
    assert (F.dropout(torch.ones(100_000), 0.7) == 0).float().mean().item() == pytest.approx(0.7, abs=0.01)
    head = ClassifierSettings(dropout=0.7).build(8, 3).eval()
    pooled = pool(torch.randn(4, 8, 5))
    assert torch.equal(head(pooled), head(pooled))


def test_the_column_of_gains_has_two_formulas():
    # its first entry is 25 % = b/a - 1; its second and third, 22 % and 15 %, are (b - a)/b
    over = [b / a - 1 for b, a in zip(BASELINE, AUXILIARY, strict=True)]
    under = [(b - a) / b for b, a in zip(BASELINE, AUXILIARY, strict=True)]
    assert over == pytest.approx([0.25, 0.29, 0.17], abs=0.005)
    assert under == pytest.approx([0.20, 0.22, 0.15], abs=0.005)


def test_a_ratio_of_losses_is_no_saving_of_epochs():
    def epochs_until(loss, losses):
        return np.interp(-loss, -np.array(losses), EPOCHS)

    saved = [1 - epochs_until(loss, AUXILIARY) / epochs_until(loss, BASELINE) for loss in (1.56, 1.21, 1.0, 0.89)]
    assert saved == pytest.approx([0.265, 0.439, 0.246, 0.173], abs=0.001)


def descend(algorithm, factor, lr, weight_decay=0.0):
    """All weights of a small classifier after 200 steps on this many times its loss."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    rows, labels = torch.randn(64, 5), (torch.rand(64, 2) < 0.4).float()
    settings = OptimizerSettings(algorithm=algorithm, lr=lr, weight_decay=weight_decay)
    optimizer = build_optimizer([(1.0, network.parameters())], FixedSettings().build(("classification",)), settings)
    for _ in range(200):
        optimizer.zero_grad()
        (factor * F.binary_cross_entropy_with_logits(network(rows), labels)).backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_factor_on_the_loss_is_another_learning_rate_for_sgd_and_nothing_for_adam():
    whole = descend("sgd", 1.0, 0.1)
    assert (descend("sgd", 0.08, 0.1) - whole).abs().max() > 0.5
    torch.testing.assert_close(descend("sgd", 0.08, 0.1), descend("sgd", 1.0, 0.008), atol=1e-5, rtol=0)
    torch.testing.assert_close(descend("adamw", 0.08, 2e-3), descend("adamw", 1.0, 2e-3), atol=1e-3, rtol=0)


def test_with_weight_decay_sgd_tells_a_factor_from_a_rate():
    # decay is added to the gradient, so the factor leaves it as it was and the lower rate does not
    decayed = [descend("sgd", factor, lr, weight_decay=0.02) for factor, lr in ((0.08, 0.1), (1.0, 0.008))]
    assert (decayed[0] - decayed[1]).abs().max() > 0.05


def test_the_first_gradient_of_a_layer_is_not_the_whole():
    layer = nn.Linear(4, 3)
    loss = (layer(torch.randn(8, 4)) - 1).square().mean()
    first, bias = torch.autograd.grad(loss, layer.parameters())
    assert bias.norm() > 0
    assert first.norm() < torch.cat([first.flatten(), bias]).norm()


def test_a_norm_does_not_see_a_weight_below_zero():
    gradient, weights = torch.tensor([3.0, 4.0]), torch.tensor([-0.2, 2.2])
    assert torch.norm(weights[0] * gradient) == torch.norm(-weights[0] * gradient)
    torch.testing.assert_close(2 * weights / weights.sum(), weights)  # and renormalizing leaves it there
    ours = GradNormSettings().build(("reconstruction", "classification"))
    with torch.no_grad():
        ours.logits.copy_(torch.tensor([-30.0, 30.0]))
    assert (ours.weights > 0).all()


def test_a_raw_sigma_crosses_zero_where_a_log_variance_holds():
    sigma, loss = torch.ones((), requires_grad=True), torch.tensor(1e-3)
    for _ in range(52):
        (slope,) = torch.autograd.grad(loss / (2 * sigma**2) + torch.log(sigma), sigma)
        sigma = (sigma - 1e-2 * slope).detach().requires_grad_()
    assert sigma < 0
    assert torch.log(sigma).isnan()
    ours = UncertaintySettings().build(("reconstruction",))
    optimizer = torch.optim.SGD(ours.parameters(), lr=1e-2)
    for _ in range(2000):
        optimizer.zero_grad()
        objective = ours(loss[None], START).objective
        objective.backward()
        optimizer.step()
    assert objective.isfinite()


@pytest.mark.parametrize("half", [1.0, 0.5])
def test_the_half_that_text_and_code_disagree_on_moves_sigma_and_not_the_weight(half):
    # k L / s^2 + log s is least at s^2 = 2 k L, where the weight k / s^2 is 1 / 2L
    loss, squares = 0.3, np.linspace(0.01, 3, 300_000)
    least = squares[np.argmin(half * loss / squares + 0.5 * np.log(squares))]
    assert least == pytest.approx(2 * half * loss, rel=1e-3)
    assert half / least == pytest.approx(1 / (2 * loss), rel=1e-3)


def test_what_no_optimizer_is_given_does_not_learn():
    network, weighting = nn.Linear(2, 1), UncertaintySettings().build(("classification",))
    for optimizer, learns in (
        (torch.optim.SGD(network.parameters(), lr=0.1), False),
        (build_optimizer([(1.0, network.parameters())], weighting, OptimizerSettings()), True),
    ):
        before = weighting.log_var.detach().clone()
        weighting(torch.tensor([0.3]), START).objective.backward()
        optimizer.step()
        assert (not torch.equal(weighting.log_var, before)) == learns


def test_the_falling_weight_is_a_quarter_on_average():
    # 0.5 (1 - p) until p = 0.8, then 0.1: 0.8 * (0.5 + 0.1) / 2 + 0.2 * 0.1 = 0.26
    falling = DecaySettings(shape="linear", start=0.5, floor=0.1)
    assert math.fsum(falling.weight(step / 1000) for step in range(1000)) / 1000 == pytest.approx(0.26, abs=1e-3)


def test_verdicts_are_written_between_the_marks_alone():
    page = f"before <!-- claims -->old{END} after"
    assert filled(page, "claims", "new") == f"before <!-- claims -->\nnew\n{END} after"
    assert filled(filled(page, "claims", "new"), "claims", "new") == filled(page, "claims", "new")
    with pytest.raises(ValueError, match="lacks the marks"):
        filled("no marks", "claims", "new")
