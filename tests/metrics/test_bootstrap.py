import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from ecgmtl.metrics.bootstrap import bootstrap, interval, mirrored_interval, sample_weights
from tests.rankings import oracle


def test_bootstrap_equals_scikit_learn_on_the_drawn_records(rng):
    scores, labels = np.round(rng.standard_normal((60, 3)), 1), rng.random((60, 3)) < 0.1
    patients = rng.integers(100, 140, 60)
    found = bootstrap(scores, labels, patients, n_resamples=50, seed=3)
    _, place = np.unique(patients, return_inverse=True)
    weights = sample_weights(place, 50, np.random.default_rng(3)).astype(int)
    for row, column in enumerate(weights.T):
        drawn = np.repeat(np.arange(60), column)
        expected = oracle(sk.roc_auc_score, scores[drawn], labels[drawn], np.ones(len(drawn)))
        np.testing.assert_allclose(found.auroc[row], expected, rtol=0, atol=1e-12)
        expected = oracle(sk.average_precision_score, scores[drawn], labels[drawn], np.ones(len(drawn)))
        np.testing.assert_allclose(found.auprc[row], expected, rtol=0, atol=1e-12)


def test_all_records_of_a_patient_are_drawn_together(rng):
    place = np.array([0, 1, 1, 2, 2, 2])
    weights = sample_weights(place, 100, rng)
    assert (weights[1] == weights[2]).all()
    assert (weights[3] == weights[5]).all()
    assert (weights[[0, 1, 3]].sum(axis=0) == 3).all()


def test_resamples_do_not_depend_on_the_chunks(rng, monkeypatch):
    scores, labels, patients = rng.standard_normal((40, 2)), rng.random((40, 2)) < 0.4, np.arange(40)
    whole = bootstrap(scores, labels, patients, n_resamples=100)
    monkeypatch.setattr("ecgmtl.metrics.bootstrap.CHUNK_VALUES", 1)
    np.testing.assert_array_equal(bootstrap(scores, labels, patients, n_resamples=100).auroc, whole.auroc)


def test_intervals_cover_the_true_auroc():
    # scores of positives one standard deviation higher: AUROC is Φ(1/√2); of 100 intervals 95 ± 3 σ should hold it
    truth_of_auroc = norm.cdf(1 / np.sqrt(2))
    labels = np.arange(200)[:, None] % 2 == 0
    held = 0
    for seed in range(100):
        scores = labels + np.random.default_rng(seed).standard_normal((200, 1))
        low, high = interval(bootstrap(scores, labels, np.arange(200), n_resamples=200, seed=seed).auroc)
        held += bool(low[0] <= truth_of_auroc <= high[0])
    assert 88 <= held <= 100


def test_more_records_of_the_same_patients_do_not_narrow_the_interval(rng):
    labels = np.arange(100)[:, None] % 2 == 0
    scores = labels + rng.standard_normal((100, 1))
    once = np.ptp(interval(bootstrap(scores, labels, np.arange(100)).auroc))
    tripled = bootstrap(np.tile(scores, (3, 1)), np.tile(labels, (3, 1)), np.tile(np.arange(100), 3))
    assert np.ptp(interval(tripled.auroc)) == pytest.approx(once, rel=1e-9)


def test_the_interval_leaves_out_resamples_without_the_figure():
    low, high = interval(np.array([[0.5, np.nan], [np.nan, np.nan], [0.7, np.nan]]), level=1.0)
    np.testing.assert_array_equal([low, high], [[0.5, np.nan], [0.7, np.nan]])


def test_the_mirrored_interval_turns_the_percentiles_round_the_value():
    # percentiles .5 and .9 round a value of .6: .3 and .7; round .4, which they leave out: 0, not -.1, and .3, widened
    draws = np.array([0.5, 0.7, 0.9])
    assert mirrored_interval(0.6, draws, level=1.0) == pytest.approx((0.3, 0.7))
    assert mirrored_interval(0.4, draws, level=1.0) == pytest.approx((0.0, 0.4))
