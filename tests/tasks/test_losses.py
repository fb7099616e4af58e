import math

import pytest
import torch
import torch.nn.functional as F

from ecgmtl.config.run import Config
from ecgmtl.data.batch import Batch
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import DecoderSettings, Reconstructed
from ecgmtl.tasks import (
    TASKS,
    ClassificationSettings,
    LossInput,
    ReconstructionSettings,
    TaskSettings,
    build_task,
    losses_of,
)
from ecgmtl.tasks.classification import classification
from ecgmtl.tasks.latent import LatentSettings

PLAIN = ReconstructionSettings()


def build(leads=8):
    config = Config(encoder=CnnSettings(widths=(8, 8)), decoder=DecoderSettings(leads=leads))
    model = config.build_model(2, {"rhythm": 1})
    model.standardize.std.fill_(0.5)  # 1 mV is 2 units
    return model


@pytest.fixture
def model():
    return build()


def batch_of(signals, scored=None, rhythm=None):
    second = {} if rhythm is None else {"rhythm": rhythm}
    return Batch(signals, torch.tensor([[1.0, 0.0]]), second, scored=scored)


def loss(task, model, outputs, batch, settings=PLAIN, progress=1.0):
    return build_task(task, TaskSettings(reconstruction=settings)).loss(LossInput(model, outputs, batch, progress))


def decoded(mean, log_var=None):
    return {"reconstruction": Reconstructed(mean, log_var)}


def cost(*arguments, **options):
    return loss(*arguments, **options).item()


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


def test_consistency_is_the_violation_of_the_identities_of_the_leads():
    model = build(leads=12)
    model.standardize.mean.fill_(0.1)
    signals = model.lead_algebra @ torch.randn(1, 8, 5)  # in mV, so that the identities hold
    reconstructed = model.standardize(signals)
    batch = batch_of(signals, torch.ones(1, 8, 5))
    assert cost("consistency", model, decoded(reconstructed), batch) == pytest.approx(0, abs=1e-10)
    reconstructed[:, 2] += 2.0  # lead III alone, by 2 units at each of 5 samples: 4 in one of 4 derived leads
    assert cost("consistency", model, decoded(reconstructed), batch) == pytest.approx(1.0, rel=1e-4)


def test_the_classification_loss_is_the_mean_cross_entropy(model):
    output = {"classification": torch.tensor([[math.log(3), 0.0]])}  # probabilities 3/4 and 1/2
    found = cost("classification", model, output, batch_of(torch.zeros(1, 12, 4)))
    assert found == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_an_auxiliary_classifier_uses_its_own_labels(model):
    output = {"classification_rhythm": torch.tensor([[-math.log(3)]])}  # probability 1/4
    batch = batch_of(torch.zeros(1, 12, 4), rhythm=torch.tensor([[1.0]]))
    assert cost("classification_rhythm", model, output, batch) == pytest.approx(math.log(4))


@pytest.mark.parametrize("task", [*TASKS, "classification_rhythm"])
def test_a_loss_without_its_output_is_refused_with_what_it_needs(model, task):
    with pytest.raises(ValueError, match="need"):
        cost(task, model, {}, batch_of(torch.zeros(1, 12, 4)))


def test_the_loss_of_an_inactive_task_is_a_constant_zero(model):
    logits = torch.zeros(1, 2, requires_grad=True)
    given = LossInput(model, {"classification": logits}, batch_of(torch.zeros(1, 12, 4)), 0.0)
    losses = losses_of(
        [build_task("reconstruction"), build_task("classification")], (False, True), lambda _: [given], logits.device
    )
    assert [loss.item() for loss in losses] == pytest.approx([0.0, math.log(2)])
    assert [loss.requires_grad for loss in losses] == [False, True]


def test_the_likelihood_depends_on_the_kind_of_task():
    kinds = [
        build_task(task).likelihood
        for task in ("reconstruction", "consistency", "latent", "classification", "classification_all", "contrastive")
    ]
    assert kinds == ["gaussian"] * 3 + ["bernoulli"] * 3


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


def test_the_latent_loss_compares_normalized_features_of_masked_frames(model):
    target = torch.tensor([[[1.0, 5.0], [3.0, 5.5]]])  # two features, two frames; the first frame normalized: -1, 1
    scored = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]).expand(1, 8, 4)  # the first frame's two samples
    batch = batch_of(torch.zeros(1, 12, 4), scored)._replace(teacher_features=target)
    found = cost("latent", model, {"latent": torch.tensor([[[-1.0, 9.0], [3.0, 9.0]]])}, batch)
    assert found == pytest.approx((0 + 4) / 2, rel=1e-4)  # the second frame does not count


def test_a_smooth_latent_loss_is_linear_in_large_errors(model):
    target = torch.tensor([[[1.0], [3.0]]])  # one frame of two features; normalized: -1, 1
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))._replace(teacher_features=target)
    given = LossInput(model, {"latent": torch.tensor([[[-0.5], [5.0]]])}, batch, 1.0)
    found = build_task("latent", TaskSettings(latent=LatentSettings(kind="smooth_l1"))).loss(given)
    assert found.item() == pytest.approx((0.5 * 0.5**2 + (4 - 0.5)) / 2, rel=1e-4)


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


def test_the_contrastive_loss_is_low_when_only_views_of_one_record_are_similar(model):
    embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 3.0]])  # two records, two views each
    found = cost("contrastive", model, {"contrastive": embedding}, batch_of(torch.zeros(1, 12, 4)))
    assert found == pytest.approx(math.log(1 + 2 * math.exp(-1 / 0.2)))  # cosine 1 to the partner, 0 to two others
    mixed = cost("contrastive", model, {"contrastive": embedding[[0, 2, 1, 3]]}, batch_of(torch.zeros(1, 12, 4)))
    assert mixed == pytest.approx(math.log(2 + math.exp(1 / 0.2)), rel=1e-4)
