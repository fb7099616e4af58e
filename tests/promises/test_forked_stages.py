"""What a fork promises with every weighting and every gradient rule: it works and resumes exactly, or it is refused."""

import contextlib
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from ecgmtl.config.stage import Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.forkmerge import ForkSettings
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.noise import NoiseSettings
from ecgmtl.optimization.gradient_rules.protect_main import ProtectMainSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.training.state_file import load_state
from tests.trainings import JOINT, training

REFUSED = {"bandit"}
KINDS = get_args(get_args(WeightingSettings)[0])


def stage_with(**changes):
    tree = JOINT.model_dump() | {
        "epochs": 2, "augment": AugmentSettings(crop_seconds=0.5, shift=True), "fork": ForkSettings(every=2),
        "diagnostics": DiagnosticsSettings(every=0), "keep": "last", "weighting": {"kind": "fixed"},
    }  # fmt: skip
    return Stage.model_validate(tree | changes)


WORKING = [
    *({"weighting": kind()} for kind in KINDS if kind().kind not in REFUSED),
    {"gradients": GradvacSettings()},
    {"gradients": NoiseSettings()},
    {"gradients": ProtectMainSettings(), "optimizer": OptimizerSettings(algorithm="sgd", lr=0.01)},
]


@pytest.mark.parametrize(
    "changes", WORKING, ids=lambda changes: "-".join(each.kind for each in list(changes.values())[:1])
)
def test_a_forked_run_interrupted_between_merges_resumes_to_identical_weights(changes, tmp_path):
    def interrupt(report):
        if report.epoch == 1:
            raise KeyboardInterrupt

    whole = training(stage_with(**changes)).run(lambda _: None, tmp_path / "whole.pt")
    assert all(value.isfinite().all() for value in whole.values())
    path = tmp_path / "cut.pt"
    with contextlib.suppress(KeyboardInterrupt):
        training(stage_with(**changes)).run(interrupt, path)
    resumed = training(stage_with(**changes))
    resumed.load_state_dict(load_state(path))
    assert resumed.epoch == 1
    again = resumed.run(lambda _: None, path)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({"weighting": kind()}, "choose by the same held-out patients") for kind in KINDS if kind().kind in REFUSED),
        ({"losses": ("classification",), "trains": ("encoder", "classifier")}, "learns classification alone"),
        ({"trains": ("decoder", "classifier")}, "fork merges encoders, and the stage trains none"),
        (
            {"losses": ("distillation", "reconstruction"), "teachers": ("a",)},
            "distillation learns none; add classification",
        ),
        ({"fork": {"alphas": [1.5]}}, "less than or equal to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_forked_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        stage_with(**changes)


def test_every_weighting_is_either_tried_or_refused():
    tried = {changes["weighting"].kind for changes in WORKING if "weighting" in changes}
    assert tried | REFUSED == {kind().kind for kind in KINDS}
