import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from ecgmtl.metrics.ranking import (
    auroc,
    has_both,
    macro_auroc,
    mean_defined,
    precision_recall_curve,
    rank_figures,
    rank_labels,
    roc_curve,
    weigh,
)
from tests.rankings import SCORES, TRUTH, case, oracle

N_CASES = 200


@pytest.mark.parametrize("seed", range(N_CASES))
def test_ranking_equals_scikit_learn(seed):
    scores, labels, _ = case(seed)
    ones = np.ones(len(scores))
    found = rank_figures(scores, labels)
    np.testing.assert_allclose(found[0], oracle(sk.roc_auc_score, scores, labels, ones), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], oracle(sk.average_precision_score, scores, labels, ones), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(N_CASES))
def test_weighted_ranking_equals_scikit_learn(seed):
    scores, labels, weights = case(seed)
    found = weigh(rank_labels(scores, labels), weights[:, None])
    auprc = oracle(sk.average_precision_score, scores, labels, weights)
    np.testing.assert_allclose(found.auroc[0], oracle(sk.roc_auc_score, scores, labels, weights), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.auprc[0], auprc, rtol=0, atol=1e-12)


def test_auroc_counts_a_tie_as_half():
    # positives .5 and .8, negatives .5 and .1: of four pairs one is a tie, three are right
    assert auroc(np.array([[0.5], [0.8], [0.5], [0.1]]), np.array([[1], [1], [0], [0]]))[0] == 3.5 / 4


def test_a_label_without_both_classes_is_left_out_of_the_macro_mean():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.2, 0.3], [0.8, 0.3, 0.4]])
    np.testing.assert_array_equal(has_both(labels), [True, False, False])
    np.testing.assert_array_equal(np.isnan(auroc(scores, labels)), [False, True, True])
    assert macro_auroc(scores, labels) == 1.0
    assert np.isnan(macro_auroc(scores[:, 1:], labels[:, 1:]))


def test_a_score_that_is_not_a_number_is_not_averaged_away():
    scores = SCORES.copy()
    scores[0, 0] = np.nan
    assert np.isnan(macro_auroc(scores, TRUTH))


def test_macro_auroc_takes_float32_scores_and_labels():
    assert macro_auroc(SCORES.astype(np.float32), TRUTH.astype(np.float32)) == macro_auroc(SCORES, TRUTH)


def test_mean_defined_is_over_the_last_axis():
    values = np.array([[0.5, np.nan, 0.7], [np.nan, np.nan, np.nan]])
    np.testing.assert_array_equal(mean_defined(values), [0.6, np.nan])


@pytest.mark.parametrize("seed", range(20))
def test_curves_have_the_area_of_their_figures(seed):
    scores, labels, _ = case(seed)
    for place in np.flatnonzero(has_both(labels)):
        column, truth = scores[:, place], labels[:, place]
        roc = roc_curve(column, truth)
        assert np.trapezoid(roc.y, roc.x) == pytest.approx(sk.roc_auc_score(truth, column), abs=1e-12)
        recall, precision = precision_recall_curve(column, truth)
        area = (np.diff(recall, prepend=0) * precision).sum()
        assert area == pytest.approx(sk.average_precision_score(truth, column), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, 2.0]), st.booleans()), min_size=2, max_size=30))
def test_turning_scores_round_turns_auroc_round(rows):
    scores = np.array([[score] for score, _ in rows])
    labels = np.array([[label] for _, label in rows])
    np.testing.assert_allclose(auroc(-scores, labels), 1 - auroc(scores, labels), atol=1e-12)
