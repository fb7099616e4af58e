"""A training that diverged: where its error says that it did, and what it leaves."""

import pytest
import torch

from ecgmtl.training.errors import TrainingError
from ecgmtl.training.validation import validate
from tests.trainings import PROBE, training


def test_a_loss_that_is_not_finite_is_reported_with_stage_epoch_and_step(tmp_path):
    run = training()
    with torch.no_grad():
        run.model.heads["classification"].read.weight.fill_(float("nan"))
    with pytest.raises(
        TrainingError, match=r"stage 'joint', epoch 1, step 1: .*classification nan.* listed in .*diverged.txt"
    ):
        run.run(lambda _: None, tmp_path / "state.pt")
    assert (tmp_path / "diverged.txt").read_text().split() == run.batches.names_of(0, 0)


def test_a_validation_loss_that_is_not_finite_is_reported_as_divergence(tmp_path):
    run = training(PROBE)
    run.learner.average.mean["heads.classification.read.weight"].fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"stage 'probe', epoch 1, step 4: training diverged: .*classification nan"):
        run.score(validate(run.learner.average.model, run.stage, run.validation))
