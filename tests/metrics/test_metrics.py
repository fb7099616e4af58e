import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics as sk

from ecgmtl.metrics.bootstrap import bootstrap, interval, mirrored_interval, sample_weights
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
from ecgmtl.metrics.reconstruction import MaskedSums, reconstruction_figures

N_CASES = 200
TRUTH = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 0]], bool)
SCORES = np.array([[0.9, 0.2, 0.4], [0.6, 0.5, 0.1], [0.1, 0.3, 0.0], [0.2, 0.7, 0.8]])


def case(seed):
    """Scores with ties, labels of which some lack a class, and a weight a record, many of them 0."""
    rng = np.random.default_rng(seed)
    n_records, n_labels = rng.integers(2, 60), rng.integers(1, 6)
    scores = rng.integers(0, rng.integers(2, 30), (n_records, n_labels)) / 7 - 1
    labels = rng.random((n_records, n_labels)) < rng.choice([0.0, 0.05, 0.4, 1.0], n_labels)
    return scores, labels, rng.integers(0, 3, n_records).astype(float)


def oracle(figure, scores, labels, weights):
    """scikit-learn's figure of each label; nan where positives or negatives have no weight."""
    found = np.full(labels.shape[1], np.nan)
    for place in range(labels.shape[1]):
        truth = labels[:, place]
        if weights[truth].sum() > 0 and weights[~truth].sum() > 0:
            found[place] = figure(truth, scores[:, place], sample_weight=weights)
    return found


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


def masked_case(seed=0, n_records=5, n_samples=200):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(n_records, 12, n_samples, generator=generator)
    drawn = 0.7 * truth + 0.1 + 0.3 * torch.randn(truth.shape, generator=generator)
    return truth, drawn, torch.rand(truth.shape, generator=generator) < 0.3


def test_reconstruction_figures_equal_numpy_on_the_hidden_samples():
    truth, drawn, mask = masked_case()
    parts = [MaskedSums.of(truth[part], drawn[part], mask[part]) for part in (slice(0, 2), slice(2, 5))]
    found = reconstruction_figures(MaskedSums.join(parts))
    x, y = truth[mask].double().numpy(), drawn[mask].double().numpy()
    assert found.n_samples == len(x)
    assert found.rmse_mv == pytest.approx(np.sqrt(np.mean((y - x) ** 2)), rel=1e-9)
    assert found.mae_mv == pytest.approx(np.abs(y - x).mean(), rel=1e-9)
    assert found.pearson_r == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-9)
    ratio = np.sum((y - x) ** 2) / np.sum((x - x.mean()) ** 2)
    assert found.prd_percent == pytest.approx(100 * np.sqrt(ratio), rel=1e-9)
    assert found.snr_db == pytest.approx(-10 * np.log10(ratio), rel=1e-9)


def test_reconstruction_figures_of_some_records_and_leads():
    truth, drawn, mask = masked_case()
    records = np.array([True, False, True, False, False])
    found = reconstruction_figures(MaskedSums.of(truth, drawn, mask).select(records, [1, 6]))
    chosen = torch.zeros_like(mask)
    chosen[torch.tensor([0, 0, 2, 2]), torch.tensor([1, 6, 1, 6])] = True
    errors = (drawn.double() - truth)[mask & chosen]
    assert found.rmse_mv == pytest.approx(float(errors.square().mean().sqrt()), rel=1e-9)


def test_visible_samples_do_not_count():
    truth, drawn, mask = masked_case()
    spoilt = torch.where(mask, drawn, 1e3)
    assert reconstruction_figures(MaskedSums.of(truth, spoilt, mask)) == reconstruction_figures(
        MaskedSums.of(truth, drawn, mask)
    )


def test_drawing_the_mean_gives_a_prd_of_100_and_an_snr_of_0():
    truth, _, mask = masked_case()
    found = reconstruction_figures(MaskedSums.of(truth, truth[mask].mean().expand_as(truth), mask))
    assert found.prd_percent == pytest.approx(100, abs=1e-3)
    assert found.snr_db == pytest.approx(0, abs=1e-3)


def test_nothing_hidden_gives_no_figure_and_no_warning():
    truth, drawn, mask = masked_case()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reconstruction_figures(MaskedSums.of(truth, drawn, torch.zeros_like(mask)))
        perfect = reconstruction_figures(MaskedSums.of(truth, truth, mask))
    assert found.n_samples == 0
    assert np.isnan(found.rmse_mv)
    assert (perfect.rmse_mv, perfect.snr_db) == (0.0, np.inf)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9, 2.0]), st.booleans()), min_size=2, max_size=30))
def test_turning_scores_round_turns_auroc_round(rows):
    scores = np.array([[score] for score, _ in rows])
    labels = np.array([[label] for _, label in rows])
    np.testing.assert_allclose(auroc(-scores, labels), 1 - auroc(scores, labels), atol=1e-12)


def test_the_mirrored_interval_turns_the_percentiles_round_the_value():
    # percentiles .5 and .9 round a value of .6: .3 and .7; round .4, which they leave out: 0, not -.1, and .3, widened
    draws = np.array([0.5, 0.7, 0.9])
    assert mirrored_interval(0.6, draws, level=1.0) == pytest.approx((0.3, 0.7))
    assert mirrored_interval(0.4, draws, level=1.0) == pytest.approx((0.0, 0.4))
