"""What every member of a family promises, over the very unions that list them."""

from typing import get_args

import pytest

from ecgmtl.encoders import EncoderSettings
from ecgmtl.weighting import WeightingSettings

TASKS = ("reconstruction", "classification", "auxiliary_classification")


def each(union):
    """One test a member of a union of settings."""
    return pytest.mark.parametrize("settings", get_args(get_args(union)[0]), ids=lambda kind: kind.__name__)


every_encoder = each(EncoderSettings)
every_weighting = each(WeightingSettings)
