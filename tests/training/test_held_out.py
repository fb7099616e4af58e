"""Patients that reward a weighting: they have labels, no step sees them, and some others remain."""

from dataclasses import replace

import numpy as np
import pytest

from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.stage import StageTraining
from tests.trainings import JOINT, training


def two_records_a_patient(settings, labeled=None):
    """Return a training in which a patient has two records, and some records have no labels."""
    stage = JOINT.model_copy(update={"weighting": settings})
    run = training(stage)
    kept = np.ones(64, dtype=bool) if labeled is None else labeled
    train = replace(run.train, patients=np.arange(64) // 2, labeled=kept)
    return StageTraining(run.model, stage, run.config, train, run.validation)


def test_reward_patients_are_never_trained_on():
    run = two_records_a_patient(BanditSettings(patients=0.25))
    kept_out, trained = set(run.held_out.patients), set(run.batches.split.patients)
    assert (len(kept_out), len(run.held_out)) == (8, 16)
    assert (kept_out | trained, kept_out & trained) == (set(range(32)), set())
    assert two_records_a_patient(DecaySettings()).held_out is None


def test_reward_patients_are_labeled_and_leave_labeled_ones_to_train_on():
    labeled = np.arange(64) < 8
    run = two_records_a_patient(BanditSettings(patients=0.25), labeled)
    assert set(run.held_out.patients) < {0, 1, 2, 3}
    assert len(run.held_out) == 2
    with pytest.raises(TrainingError, match="of 2 labeled records none is left to train on"):
        two_records_a_patient(BanditSettings(patients=0.25), np.arange(64) < 2)
