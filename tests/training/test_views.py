"""Two views in one step: a masked one to reconstruct and a clean one to classify."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch.distributions import Bernoulli

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.heads import ClassifierSettings
from ecgmtl.model.normalization import BatchNormByView, normalize_by
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting.base import Moment
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.tasks import LossInput, build_task
from tests.trainings import JOINT
from tests.trainings import training as default_training

FIELDS = {
    "weighting": FixedSettings(),
    "masking": MaskingSettings(time=0.5),
    "augment": JOINT.augment.model_copy(update={"mixup": 0.0, "noise": 0.0}),
}
CLEAN = JOINT.model_copy(update={**FIELDS, "views": {"classification": "clean"}})
BOTH = JOINT.model_copy(update={**FIELDS, "views": {"classification": "both"}})
ONE = JOINT.model_copy(update=FIELDS)
FIRST = Moment(0, 0, 0.0)


def training(stage, **settings):
    """A training without dropout, whose losses can be computed again."""
    return default_training(stage, classifier=ClassifierSettings(dropout=0.0), **settings)


def first_batch(run):
    return next(run.batches.of_epoch(0))


def statistics(model):
    return {name: value.clone() for name, value in model.encoder.named_buffers() if "running" in name}


def loss_on(run, task, batch):
    outputs = run.model(batch.encoder_input, batch.mask, (task,))
    return build_task(task, run.stage).loss(LossInput(run.model, outputs, batch, 0.0))


def test_the_views_are_one_batch_with_and_without_its_mask():
    batch = first_batch(training(CLEAN))
    one = first_batch(training(ONE))
    assert batch.mask.any()
    assert batch.clean.mask is None
    assert torch.equal(batch.signals, batch.clean.signals)
    assert torch.equal(batch.signals, one.signals)
    assert torch.equal(batch.mask, one.mask)


def test_the_classifier_reads_the_clean_view_and_the_decoder_the_masked_one():
    run = training(CLEAN)
    batch = first_batch(run)
    reconstruction, classification = run.learner.losses(batch, (True, True), 0.0)
    torch.testing.assert_close(reconstruction, loss_on(run, "reconstruction", batch))
    torch.testing.assert_close(classification, loss_on(run, "classification", batch.clean))
    assert not torch.allclose(classification, loss_on(run, "classification", batch))


def test_the_losses_of_both_views_are_averaged():
    run = training(BOTH)
    batch = first_batch(run)
    _, classification = run.learner.losses(batch, (True, True), 0.0)
    expected = (loss_on(run, "classification", batch) + loss_on(run, "classification", batch.clean)) / 2
    torch.testing.assert_close(classification, expected)


def test_the_gradient_is_the_sum_of_the_views_gradients():
    run = training(CLEAN.model_copy(update={"optimizer": OptimizerSettings(clip=None)}))
    batch = first_batch(run)
    weight = run.model.encoder.trunk.stem[0].weight
    total = 0.3 * loss_on(run, "reconstruction", batch) + loss_on(run, "classification", batch.clean)
    (expected,) = torch.autograd.grad(total, [weight])
    run.learner.weighting.weights.copy_(torch.tensor([0.3, 1.0]))
    run.learner.step(batch, FIRST)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("views", ["clean", "all"])
def test_the_clean_view_alone_moves_the_running_statistics_unless_told_otherwise(views):
    run = training(CLEAN.model_copy(update={"statistics": views}), normalization="batch")
    batch = first_batch(run)
    run.learner.step(batch, FIRST)
    moved = statistics(run.model)

    other = training(CLEAN, normalization="batch")
    other.model.train()
    with torch.no_grad():
        other.model(batch.clean.encoder_input, None, ("classification",))
        if views == "all":
            other.model(batch.encoder_input, batch.mask, ("reconstruction",))
    torch.testing.assert_close(moved, statistics(other.model))


def test_norms_by_view_keep_statistics_of_each_and_use_them():
    run = training(CLEAN, normalization="batch_by_view")
    batch = first_batch(run)
    run.learner.step(batch, FIRST)
    norm = next(module for module in run.model.modules() if isinstance(module, BatchNormByView))
    assert not torch.equal(norm.running_mean, norm.masked_mean)

    features = torch.randn(4, len(norm.weight), 1, 9)
    norm.eval()
    for masked, mean, var in ((False, norm.running_mean, norm.running_var), (True, norm.masked_mean, norm.masked_var)):
        norm.masked = masked
        expected = F.batch_norm(features, mean, var, norm.weight, norm.bias, eps=norm.eps)
        assert torch.equal(norm(features), expected)


def test_a_record_that_lacks_leads_is_normalized_as_an_unmasked_one():
    missing = CLEAN.model_copy(update={"augment": CLEAN.augment.model_copy(update={"leads_missing": 0.3})})
    run = training(missing)
    batch = first_batch(run)
    lacking = batch.clean.mask.all(dim=2)
    assert 0 < lacking.float().mean() < 1
    assert torch.equal(lacking, batch.clean.mask.any(dim=2))
    assert not torch.equal(batch.mask, batch.clean.mask)
    norm = next(module for module in run.model.modules() if isinstance(module, BatchNormByView))
    before = norm.running_mean.clone(), norm.masked_mean.clone()
    run.model.train()
    run.learner.losses(batch, (False, True), 0.0)
    assert not torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.masked_mean, before[1])


def test_labels_of_the_masked_view_alone_do_not_move_the_statistics_of_the_clean_one():
    run = training(BOTH)
    batch = first_batch(run)
    norm = next(module for module in run.model.modules() if isinstance(module, BatchNormByView))
    before = norm.masked_mean.clone()
    run.model.train()
    run.learner.losses(batch, (False, True), 0.0)  # without the decoder, whose head would tell the masked view
    assert not torch.equal(norm.masked_mean, before)


def test_norms_by_view_change_the_reconstruction_and_not_the_classifier():
    outputs = {}
    for normalization in ("auto", "batch"):
        run = training(CLEAN, normalization=normalization)
        assert any(isinstance(module, BatchNormByView) for module in run.model.modules()) == (normalization == "auto")
        for number, batch in enumerate(run.batches.of_epoch(0)):
            run.learner.step(batch, Moment(number, 0, 0.0))
        batch = first_batch(run)
        run.model.eval()
        with torch.no_grad():
            clean = run.model(batch.clean.encoder_input, None, ("classification",))["classification"]
            masked = run.model(batch.encoder_input, batch.mask, ("reconstruction",))["reconstruction"].mean
        outputs[normalization] = clean, masked
    assert torch.equal(outputs["auto"][0], outputs["batch"][0])
    assert not torch.allclose(outputs["auto"][1], outputs["batch"][1])


def test_labels_of_masked_records_alone_are_refused_with_norms_by_view():
    stages = [{"name": "joint", "trains": ["encoder", "decoder", "classifier"], "epochs": 1}]
    stages[0]["losses"] = ["reconstruction", "classification"]
    assert Config(stages=stages).norms == "batch"
    with pytest.raises(ValidationError, match="'joint' learns labels from masked records alone"):
        Config(stages=stages, normalization="batch_by_view")
    two = {**stages[0], "name": "two", "views": {"classification": "clean"}}
    assert Config(stages=[two]).norms == "batch_by_view"
    assert Config(stages=[{**two, "statistics": "all"}]).norms == "batch"
    with pytest.raises(ValidationError, match="'joint' learns labels from masked records alone"):
        Config(stages=[*stages, two])


def test_norms_by_view_start_as_the_batch_norms_that_they_replace():
    plain, by_view = training(CLEAN, normalization="batch"), training(CLEAN, normalization="batch_by_view")
    batch = first_batch(plain)
    for loss, other in zip(
        plain.learner.losses(batch, (True, True), 0.0), by_view.learner.losses(batch, (True, True), 0.0), strict=True
    ):
        assert torch.equal(loss, other)


def test_group_norms_make_a_record_independent_of_its_batch():
    model = training(ONE, normalization="group").model.train()
    signals = torch.randn(4, 12, 64)
    together = model(signals, None, ("classification",))["classification"]
    alone = torch.cat([model(one[None], None, ("classification",))["classification"] for one in signals])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not any("running" in name for name, _ in model.encoder.named_buffers())


def test_batch_normalization_is_left_as_it_is():
    encoder = training(ONE).model.encoder
    before = list(encoder.modules())
    normalize_by(encoder, "batch")
    assert all(one is other for one, other in zip(before, encoder.modules(), strict=True))


def unlabeled_run(stage):
    run = training(stage)
    run.batches.split.labeled[16:] = False
    return run


def test_records_without_labels_enter_the_masked_view_alone():
    run = unlabeled_run(CLEAN)
    run.batches.split.labels[16:] = 7.0  # a mark by which such records are known
    batches = list(run.batches.of_epoch(0))
    clean = torch.cat([batch.clean.labels for batch in batches])
    masked = torch.cat([batch.labels for batch in batches])
    assert len(clean) == len(masked) == 64
    assert not (clean == 7).any()
    assert (masked == 7).all(dim=1).sum() == 48  # each of the 64 records once

    alone = unlabeled_run(
        JOINT.model_copy(update={**FIELDS, "losses": ("classification",), "trains": ("encoder", "classifier")})
    )
    for batch, expected in zip(batches, alone.batches.of_epoch(0), strict=True):
        assert torch.equal(batch.clean.signals, expected.signals)


def test_records_without_labels_stay_out_of_a_masked_view_that_is_classified():
    run = unlabeled_run(BOTH)
    run.batches.split.labels[16:] = 7.0
    assert not any((batch.labels == 7).any() for batch in run.batches.of_epoch(0))


def test_agreement_is_the_divergence_of_the_masked_view_from_the_clean_one():
    stage = CLEAN.model_copy(update={"losses": ("reconstruction", "classification", "agreement")})
    run = training(stage)
    run.batches.split.labeled[16:] = False
    batch = first_batch(run)
    assert torch.equal(batch.signals, batch.clean.signals)  # they are compared record by record
    agreement = run.learner.losses(batch, (True, True, True), 0.0)[2]
    with torch.no_grad():
        masked = torch.sigmoid(run.model(batch.encoder_input, batch.mask, ("classification",))["classification"])
        clean = torch.sigmoid(run.model(batch.clean.encoder_input, None, ("classification",))["classification"])
    divergence = torch.distributions.kl_divergence(Bernoulli(clean), Bernoulli(masked)).mean()
    torch.testing.assert_close(agreement.detach(), divergence, rtol=1e-4, atol=1e-7)
    assert run.run_epoch().figures["loss.agreement"] >= 0


def test_a_probe_halves_both_views():
    run = training(CLEAN)
    batch = first_batch(run)
    figures = run.learner.probe(batch, FIRST, torch.ones(2))
    assert figures["gradient.norm.classification"].isfinite()


def test_training_with_two_views_lowers_both_losses():
    run = training(CLEAN.model_copy(update={"epochs": 8}))
    first = run.run_epoch().figures
    for run.epoch in range(1, 8):
        last = run.run_epoch().figures
    assert last["loss.reconstruction"] < first["loss.reconstruction"]
    assert last["loss.classification"] < first["loss.classification"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"views": {"age": "clean"}}, "views names age; the stage's losses are"),
        ({"views": {"reconstruction": "both"}}, "reconstruction needs the masked view; views has both"),
        (
            {"losses": ("reconstruction", "agreement"), "trains": ("encoder", "decoder", "classifier")},
            "agreement with the clean view, which no classification reads",
        ),
        (
            {"losses": ("classification",), "trains": ("encoder", "classifier"), "views": {"classification": "clean"}},
            "masks nothing, so it has one view",
        ),
    ],
)
def test_views_that_do_not_fit_are_refused(settings, expected):
    fields = {"name": "s", "trains": JOINT.trains, "losses": JOINT.losses, "epochs": 1, **settings}
    with pytest.raises(ValidationError, match=expected):
        Stage(**fields)


def test_two_views_of_a_split_cost_two_passes():
    assert CLEAN.n_passes == BOTH.n_passes == 2
    assert ONE.n_passes == 1


def test_a_stage_of_two_views_can_be_compared_by_gradient_rules_and_weightings():
    for settings in (
        {"gradients": {"kind": "pcgrad"}},
        {"weighting": {"kind": "gradnorm"}},
        {"weighting": {"kind": "famo"}},
    ):
        stage = Stage.model_validate({**CLEAN.model_dump(), **settings, "epochs": 1})
        figures = training(stage).run_epoch().figures
        assert figures["macro_auroc"] > 0
