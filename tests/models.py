"""Small untrained models to store, export and predict with."""

import torch

from ecgmtl.calibration import Calibration
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config import Config

LABELS = ("CD", "HYP", "MI", "NORM", "STTC")


def untrained(encoder):
    """A checkpoint with random weights, a calibration that changes probabilities, and other thresholds than 0.5."""
    config = Config(encoder=encoder)
    torch.manual_seed(0)
    model = config.build_model(5).eval()
    calibration = Calibration(slope=(1.2,) * 5, intercept=(0.1,) * 5, thresholds=(0.4,) * 5)
    return Checkpoint(model, config, "superdiagnostic", LABELS, calibration, {}, {"stage": "decay"})
