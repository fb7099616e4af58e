import math

import pytest
import torch
import torch.nn.functional as F

from ecgmtl.tasks import ClassificationSettings
from ecgmtl.tasks.classification import classification
from tests.losses import batch_of, cost


def test_the_classification_loss_is_the_mean_cross_entropy(model):
    output = {"classification": torch.tensor([[math.log(3), 0.0]])}  # probabilities 3/4 and 1/2
    found = cost("classification", model, output, batch_of(torch.zeros(1, 12, 4)))
    assert found == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_an_auxiliary_classifier_uses_its_own_labels(model):
    output = {"classification_rhythm": torch.tensor([[-math.log(3)]])}  # probability 1/4
    batch = batch_of(torch.zeros(1, 12, 4), rhythm=torch.tensor([[1.0]]))
    assert cost("classification_rhythm", model, output, batch) == pytest.approx(math.log(4))


def test_asymmetric_loss_without_exponents_and_margin_is_cross_entropy():
    logits, labels = torch.tensor([[2.0, -1.0, 0.3]]), torch.tensor([[1.0, 0.0, 0.4]])
    plain = ClassificationSettings(kind="asymmetric", gamma_negative=0, margin=0)
    expected = F.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(classification(logits, labels, plain, None), expected)


def test_asymmetric_loss_weights_errors_by_their_size():
    logits = torch.tensor([[math.log(3), math.log(3), -math.log(99)]])  # probabilities 3/4, 3/4, 1/100
    settings = ClassificationSettings(kind="asymmetric", gamma_positive=1, gamma_negative=2, margin=0.05)
    # positive at 3/4: 1/4 log(4/3); negative at 3/4: p_m = 0.7, 0.7^2 log(1/0.3); negative below the margin: nothing
    expected = (0.25 * math.log(4 / 3) + 0.49 * math.log(1 / 0.3)) / 3
    found = classification(logits, torch.tensor([[1.0, 0.0, 0.0]]), settings, None)
    assert found.item() == pytest.approx(expected)


def test_asymmetric_loss_has_a_finite_gradient_at_every_logit():
    logits = torch.tensor([[-60.0, -20.0, 0.0, 20.0, 60.0]], requires_grad=True)
    settings = ClassificationSettings(kind="asymmetric", gamma_positive=0.5, gamma_negative=0.5)
    for labels in (torch.zeros(1, 5), torch.ones(1, 5)):
        (slope,) = torch.autograd.grad(classification(logits, labels, settings, None), logits)
        assert slope.isfinite().all()


def test_label_smoothing_equals_cross_entropy_with_soft_labels():
    logits, labels = torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(logits, torch.tensor([[0.95, 0.05]]))
    torch.testing.assert_close(classification(logits, labels, ClassificationSettings(smoothing=0.1), None), expected)


def test_balance_weights_rare_labels_more():
    logits, labels = torch.zeros(1, 2), torch.zeros(1, 2)
    logits = torch.tensor([[0.0, math.log(3)]])  # losses log 2 and log 4
    prevalence = torch.tensor([0.25, 0.01])  # to the power of -1/2: 2 and 10, on average 1: 1/3 and 5/3
    found = classification(logits, labels, ClassificationSettings(balance=0.5), prevalence)
    assert found.item() == pytest.approx((math.log(2) / 3 + math.log(4) * 5 / 3) / 2)
