"""Fixtures that the tests of tasks share."""

import pytest

from tests.losses import build


@pytest.fixture
def model():
    return build()
