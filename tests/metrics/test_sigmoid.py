"""The sigmoid and its inverse, against scipy.special."""

import numpy as np
import pytest
from scipy import special

from ecgmtl.metrics.sigmoid import logit, sigmoid


def test_probabilities_agree_with_scipy_for_logits_of_any_size():
    logits = np.array([-np.inf, -1e300, -800.0, -40.0, -1.5, 0.0, 1e-9, 3.0, 37.0, 800.0, np.inf, np.nan])
    np.testing.assert_allclose(sigmoid(logits), special.expit(logits), rtol=1e-15)
    single = np.linspace(-60, 60, 999, dtype=np.float32)
    assert sigmoid(single).dtype == np.float64
    np.testing.assert_allclose(sigmoid(single), special.expit(single.astype(np.float64)), rtol=1e-15)


def test_logits_agree_with_scipy_and_invert_the_sigmoid():
    probabilities = np.array([1e-300, 1e-12, 0.01, 0.3, 0.7, 0.99, 1 - 1e-12])
    np.testing.assert_allclose(logit(probabilities), special.logit(probabilities), rtol=1e-12)
    np.testing.assert_allclose(sigmoid(logit(probabilities)), probabilities, rtol=1e-12)
    assert logit(np.array(0.5)) == pytest.approx(0.0, abs=1e-16)
