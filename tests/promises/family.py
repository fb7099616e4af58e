"""One test a member of a family, over the very union that lists its members."""

from typing import get_args

import pytest

from ecgmtl.model.encoders import EncoderSettings

TASKS = ("reconstruction", "classification", "classification_all")


def each(union):
    """Parametrize a test by the members of a union of settings."""
    return pytest.mark.parametrize("settings", get_args(get_args(union)[0]), ids=lambda kind: kind.__name__)


every_encoder = each(EncoderSettings)
