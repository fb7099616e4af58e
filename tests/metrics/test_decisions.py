import numpy as np
import pytest
from sklearn import metrics as sk

from ecgmtl.metrics.decisions import (
    FMAX_THRESHOLDS,
    brier,
    expected_calibration_error,
    fmax,
    label_figures,
    one_error,
    record_figures,
    reliability_bins,
)
from tests.rankings import SCORES, TRUTH


def test_fmax_by_hand():
    # At .40 ≤ t < .50 (t = 0.4 itself): predicted {0,2}, {0,1}, {}, {1,2}; shared with the truth 2, 1, 0, 1.
    # Precision over the three answered: (1 + 1/2 + 1/2)/3 = 2/3; recall over the three labeled: (1 + 1 + 1/2)/3 = 5/6.
    # F = 2 · (2/3)(5/6)/(3/2) = 20/27. At .2: {0,1,2}, {0,1}, {1}, {0,1,2}: precision (2/3+1/2+0+2/3)/4 = 11/24,
    # recall 1, F = 22/35 = 0.63. At .5: {0}, {0,1}, {}, {1,2}: 2/3 and (1/2+1+1/2)/3 = 2/3, F = 2/3.
    best = fmax(SCORES, TRUTH)
    assert best.value == pytest.approx(20 / 27, abs=1e-12)
    assert best.threshold in FMAX_THRESHOLDS
    assert 0.31 <= best.threshold <= 0.4


def test_fmax_of_the_truth_is_one():
    assert fmax(TRUTH.astype(float), TRUTH).value == 1.0
    assert np.isnan(fmax(SCORES, np.zeros_like(TRUTH)).value)


def test_one_error_by_hand():
    # the tops are labels 0, 0, (record without a label), 2; true are 0 | 1 | - | 0 and 1: two of three are wrong
    assert one_error(SCORES, TRUTH) == pytest.approx(2 / 3)
    assert np.isnan(one_error(SCORES, np.zeros_like(TRUTH)))


def test_record_figures_by_hand():
    # predicted at .5: {0}, {0,1}, {}, {1,2}; true: {0,2}, {1}, {}, {0,1}
    found = record_figures(SCORES >= 0.5, TRUTH)
    assert found.accuracy == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 3) / 4)
    assert found.precision == pytest.approx((1 + 1 / 2 + 1 + 1 / 2) / 4)
    assert found.recall == pytest.approx((1 / 2 + 1 + 1 + 1 / 2) / 4)
    assert found.f1 == pytest.approx((2 / 3 + 2 / 3 + 1 + 1 / 2) / 4)
    assert found.exact == 1 / 4


@pytest.mark.parametrize("seed", range(50))
def test_record_figures_equal_scikit_learn_on_records_with_a_label(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random((2, 30, 5)) < 0.3
    truth[:, 0] |= ~truth.any(axis=1)
    found = record_figures(predicted, truth)
    kept = {"average": "samples", "zero_division": 0}
    assert found.accuracy == pytest.approx(sk.jaccard_score(truth, predicted, **kept), abs=1e-12)
    assert found.precision == pytest.approx(sk.precision_score(truth, predicted, **kept), abs=1e-12)
    assert found.recall == pytest.approx(sk.recall_score(truth, predicted, **kept), abs=1e-12)
    assert found.f1 == pytest.approx(sk.f1_score(truth, predicted, **kept), abs=1e-12)
    assert found.exact == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_label_figures_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random((2, 40, 4)) < 0.3
    truth[0], truth[1], predicted[0] = True, False, True
    found = label_figures(predicted, truth)
    np.testing.assert_allclose(found.f1, sk.f1_score(truth, predicted, average=None), atol=1e-12)
    np.testing.assert_allclose(found.sensitivity, sk.recall_score(truth, predicted, average=None), atol=1e-12)
    np.testing.assert_allclose(found.specificity, sk.recall_score(~truth, ~predicted, average=None), atol=1e-12)
    np.testing.assert_allclose(found.precision, sk.precision_score(truth, predicted, average=None), atol=1e-12)
    np.testing.assert_array_equal(found.n_positive, truth.sum(axis=0))


def test_label_figures_of_nothing_are_nan():
    nothing = np.zeros((3, 1), bool)
    found = label_figures(nothing, nothing)
    assert np.isnan([found.f1[0], found.sensitivity[0], found.precision[0]]).all()
    assert found.specificity[0] == 1.0


def test_brier_equals_scikit_learn(rng):
    truth, probabilities = rng.random((50, 3)) < 0.3, rng.random((50, 3))
    expected = [sk.brier_score_loss(truth[:, place], probabilities[:, place]) for place in range(3)]
    np.testing.assert_allclose(brier(probabilities, truth), expected, atol=1e-12)


def test_calibration_error_by_hand():
    # one bin (.9333 to 1): mean probability .95, one of two positive: |.95 - .5| · 2/3; the other holds 0: |0 - 0|
    probabilities, truth = np.array([[0.94], [0.96], [0.0]]), np.array([[True], [False], [False]])
    bins = reliability_bins(probabilities, truth)
    assert expected_calibration_error(bins)[0] == pytest.approx(0.45 * 2 / 3)
    assert bins.n_records.sum() == 3
    assert reliability_bins(np.ones((1, 1)), np.ones((1, 1), bool)).n_records[0, -1] == 1


def test_calibration_error_vanishes_when_probabilities_hold(rng):
    probabilities = rng.random((200_000, 1))
    assert expected_calibration_error(reliability_bins(probabilities, rng.random((200_000, 1)) < probabilities)) < 0.01
