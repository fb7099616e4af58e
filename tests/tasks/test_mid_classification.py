import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.training.validation import validate
from tests.trainings import training

STAGE = Stage(
    name="s",
    trains=("encoder", "classifier", "mid_classifier"),
    losses=("classification", "mid_classification"),
    weighting=FixedSettings(weights={"mid_classification": 0.3}),
    epochs=6,
    batch_size=16,
)
LOWER = MultiLevelSettings(levels={"mid_classification": 2})
ENCODER = CnnSettings(widths=(8, 6, 10))


def test_the_second_classifier_reads_its_level_and_the_main_labels():
    run = training(STAGE, encoder=ENCODER, sharing=LOWER)
    model, batch = run.model.eval(), next(run.batches.of_epoch(0))
    levels = model.encoder.trunk.levels(model.standardize(batch.signals))
    read = model.heads["mid_classification"].read
    assert tuple(read.weight.shape) == (2, 2 * 6)  # mean and maximum of the second level's features
    logits = F.linear(torch.cat([levels[1].mean(dim=2), levels[1].amax(dim=2)], dim=1), read.weight, read.bias)
    expected = F.binary_cross_entropy_with_logits(logits, batch.labels)
    losses = run.learner.losses(batch, (True, True), 0.0)
    torch.testing.assert_close(losses[1], expected)
    (gradient,) = torch.autograd.grad(losses[1], model.encoder.trunk.blocks[1].second.weight, allow_unused=True)
    assert gradient is None  # nothing above its level learns from it
    assert model.classify(batch.signals).shape == logits.shape


def test_both_classifiers_learn_and_the_main_one_selects_the_epoch():
    run = training(STAGE, encoder=ENCODER, sharing=LOWER)
    before = validate(run.model, STAGE, run.validation)
    for run.epoch in range(6):
        run.run_epoch()
    after = validate(run.model, STAGE, run.validation)
    assert STAGE.selected_by == "classification"
    assert after["loss.mid_classification"] < before["loss.mid_classification"]
    with torch.no_grad():
        logits = run.model(run.validation.batch(torch.arange(32)).signals, None, ("mid_classification",))
    auroc = roc_auc_score(run.validation.labels, logits["mid_classification"])
    assert after["mid_macro_auroc"] == pytest.approx(float(np.mean(auroc)))


def test_a_model_whose_heads_all_read_the_top_is_refused():
    with pytest.raises(ValueError, match=r"learns mid_classification, which reads a lower level of the encoder; set"):
        Config(stages=(STAGE,), encoder=ENCODER)
