import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import DecoderSettings
from ecgmtl.training.validation import validate

MASKING = MaskingSettings()
AUTOENCODER = MaskingSettings(time=0, leads=0, visible=1.0)


def split(n=20, n_samples=100):
    generator = torch.Generator().manual_seed(1)
    return Split(
        signals=torch.randint(-900, 900, (n, 12, n_samples), dtype=torch.int16, generator=generator),
        labels=torch.randint(0, 2, (n, 3), generator=generator).float(),
        label_names=("a", "b", "c"),
        auxiliary_labels={},
        auxiliary_label_names={},
        names=tuple(map(str, range(n))),
        patients=np.arange(n),
        groups=np.zeros((n, 3), dtype=np.float32),
        group_names=("a", "b", "c"),
        labeled=np.ones(n, dtype=bool),
        fs=100.0,
    )


def stage(masking=MASKING):
    return Stage(
        name="s", trains=("encoder", "decoder", "classifier"), losses=("reconstruction", "classification"), epochs=1,
        masking=masking,
    )  # fmt: skip


@pytest.fixture
def model():
    model = Config(encoder=CnnSettings(widths=(8, 8))).build_model(3)
    model.standardize.std.fill_(0.5)
    return model


def by_hand(model, records):
    """Return all records in one batch, the model's outputs, and the reconstruction error in standardized units."""
    whole = next(records.in_order(100))
    with torch.inference_mode():
        output = model.eval()(whole.signals)
        return whole, output, output["reconstruction"].mean - model.standardize.basis(whole.signals)


def test_metrics_equal_those_computed_by_hand(model):
    records = split()
    found = validate(model, stage(AUTOENCODER), records)
    whole, output, error = by_hand(model, records)
    cost = torch.nn.functional.binary_cross_entropy_with_logits(output["classification"], whole.labels)
    assert found["loss.classification"] == pytest.approx(cost.item(), rel=1e-5)
    assert found["loss.reconstruction"] == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert found["rmse_mv"] == pytest.approx(0.5 * error.square().mean().sqrt().item(), rel=1e-5)
    expected = roc_auc_score(whole.labels.numpy(), output["classification"].numpy(), average="macro")
    assert found["macro_auroc"] == pytest.approx(expected)


def test_predicted_variances_are_evaluated_with_their_own_errors():
    settings = DecoderSettings(log_var=True)
    model = Config(encoder=CnnSettings(widths=(8, 8)), decoder=settings).build_model(3)
    model.heads["reconstruction"].unfold_log_var.bias.data.fill_(-1.0)
    records = split()
    found = validate(model, stage(AUTOENCODER), records)
    _, output, error = by_hand(model, records)
    predicted = torch.distributions.Normal(0.0, torch.exp(0.5 * output["reconstruction"].log_var))
    assert found["reconstruction_nll"] == pytest.approx(-predicted.log_prob(error).mean().item(), rel=1e-5)
    within = (predicted.cdf(error) - 0.5).abs() < 0.475
    assert found["reconstruction_coverage_95"] == pytest.approx(within.float().mean().item(), abs=1e-3)


def test_batches_are_weighted_by_their_number_of_records(model):
    records = split(AT_A_TIME + 5)
    first, rest = np.arange(AT_A_TIME + 5) < AT_A_TIME, np.arange(AT_A_TIME + 5) >= AT_A_TIME
    whole, one, two = (
        validate(model, stage(AUTOENCODER), part) for part in (records, records.select(first), records.select(rest))
    )
    for name in ("loss.classification", "loss.reconstruction"):
        assert whole[name] == pytest.approx((AT_A_TIME * one[name] + 5 * two[name]) / (AT_A_TIME + 5), rel=1e-5)


def test_every_validation_masks_the_same_samples(model):
    assert validate(model, stage(), split()) == validate(model, stage(), split())


def test_validation_masks_every_record_whatever_fraction_training_masks(model):
    records = split()
    assert validate(model, stage(MaskingSettings(share=0.1)), records) == validate(model, stage(), records)


@pytest.mark.parametrize("masking", [AUTOENCODER, MaskingSettings(share=0, visible=1.0)])
def test_a_stage_without_masks_is_validated_without_masks(model, masking):
    records = split()
    found = validate(model, stage(masking), records)
    assert found == validate(model, stage(AUTOENCODER), records)


def test_validation_changes_no_weight_or_statistic(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    validate(model.train(), stage(), split())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
