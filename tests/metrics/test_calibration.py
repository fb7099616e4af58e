import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit, logit
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_curve, roc_auc_score

from ecgmtl.metrics.calibration import Calibration, best_expected_f1, cross_fit, fit_calibration, fit_line
from ecgmtl.metrics.decisions import expected_calibration_error, reliability_bins
from ecgmtl.metrics.ranking import auroc


def planted(rng, slope, intercept, n_records=20_000):
    logits = 2 * rng.standard_normal((n_records, len(slope))) - 1
    return logits, rng.random(logits.shape) < expit(np.array(slope) * logits + np.array(intercept))


def test_a_planted_slope_and_intercept_are_recovered(rng):
    logits, labels = planted(rng, (0.5, 1.0, 2.0), (-1.0, 0.0, 0.7))
    found = fit_calibration(logits, labels)
    np.testing.assert_allclose(found.slope, (0.5, 1.0, 2.0), rtol=0.06)
    np.testing.assert_allclose(found.intercept, (-1.0, 0.0, 0.7), atol=0.1)


def test_the_fit_is_stationary_for_platts_targets(rng):
    logits, labels = planted(rng, (1.7,), (0.4,), n_records=300)
    slope, intercept = fit_line(logits[:, 0], labels[:, 0])
    n_positive = labels.sum()
    targets = np.where(labels[:, 0], (n_positive + 1) / (n_positive + 2), 1 / (300 - n_positive + 2))
    error = expit(slope * logits[:, 0] + intercept) - targets
    np.testing.assert_allclose([error.mean(), (error * logits[:, 0]).mean()], 0, atol=1e-6)


def test_fitting_makes_probabilities_hold_and_keeps_the_ranking(rng):
    logits, labels = planted(rng, (0.3,), (1.5,))
    fitted = fit_calibration(logits, labels).probabilities(logits)
    before = expected_calibration_error(reliability_bins(expit(logits), labels))[0]
    assert expected_calibration_error(reliability_bins(fitted, labels))[0] < 0.1 * before
    np.testing.assert_allclose(auroc(fitted, labels), auroc(logits, labels), atol=1e-12)


def test_a_label_with_too_few_positives_gets_the_shared_slope(rng):
    logits, labels = planted(rng, (0.5, 0.5), (0.0, 0.0), n_records=5000)
    labels[:, 1] = False
    labels[:4, 1] = True
    found = fit_calibration(logits, labels)
    assert (found.intercept[1], found.thresholds[1]) == (0.0, 0.5)
    assert found.slope[1] > 0


def test_scores_that_fall_with_the_label_are_not_turned_round(rng):
    logits, labels = planted(rng, (-2.0,), (0.0,), n_records=1000)
    found = fit_calibration(logits, labels)
    assert (found.slope, found.intercept) == ((1.0,), (0.0,))


@pytest.mark.parametrize("value", [0, 1])
def test_labels_of_one_class_give_a_finite_calibration(rng, value):
    found = fit_calibration(rng.standard_normal((50, 2)), np.full((50, 2), float(value)))
    assert np.isfinite([found.slope, found.intercept, found.thresholds]).all()


def test_separable_labels_give_a_finite_slope():
    logits = np.linspace(-3, 3, 40)[:, None]
    found = fit_calibration(logits, logits > 0)
    assert np.isfinite(found.slope[0])
    assert np.count_nonzero(found.predicted(found.probabilities(logits)) != (logits > 0)) <= 1


def test_half_the_best_expected_f1_is_the_threshold_that_attains_it(rng):
    for _ in range(30):
        probabilities = rng.random(40)
        decided = probabilities >= np.append(probabilities, 2.0)[:, None]
        expected = 2 * (decided * probabilities).sum(axis=1) / (decided.sum(axis=1) + probabilities.sum())
        best = best_expected_f1(probabilities)
        assert best == pytest.approx(expected.max())
        np.testing.assert_array_equal(probabilities >= best / 2, decided[expected.argmax()])


def test_the_best_expected_f1_is_that_of_many_sampled_truths(rng):
    probabilities = rng.random(400)
    decided = probabilities >= best_expected_f1(probabilities) / 2
    scores = [f1_score(rng.random(400) < probabilities, decided) for _ in range(200)]
    assert np.mean(scores) == pytest.approx(best_expected_f1(probabilities), abs=0.005)


def test_thresholds_vary_less_than_those_of_the_best_f1_and_give_a_better_one(rng):
    found, sampled, ours, theirs = [], [], [], []
    truth_logits, truth = planted(rng, (0.5,), (0.1,), n_records=5000)
    for _ in range(20):
        logits, labels = planted(rng, (0.5,), (0.1,), n_records=200)
        calibration = fit_calibration(logits, labels)
        precision, recall, cuts = precision_recall_curve(labels[:, 0] > 0, calibration.probabilities(logits)[:, 0])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        found.append(calibration.thresholds[0])
        sampled.append(cuts[f1[:-1].argmax()])
        probabilities = calibration.probabilities(truth_logits)[:, 0]
        ours.append(f1_score(truth[:, 0] > 0, probabilities >= found[-1]))
        theirs.append(f1_score(truth[:, 0] > 0, probabilities >= sampled[-1]))
    assert np.std(found) < np.std(sampled) / 2
    assert np.mean(ours) > np.mean(theirs)


def test_the_figures_of_a_threshold_are_those_of_scikit_learn(rng):
    logits, labels = planted(rng, (0.5, 1.0), (0.1, 0.2), n_records=300)
    found, predicted = fit_calibration(logits, labels), cross_fit(logits, labels, np.arange(300)).predicted
    for label, figures in enumerate(found.figures):
        counts = confusion_matrix(labels[:, label] > 0, predicted[:, label]).tolist()
        (true_negatives, false_positives), (false_negatives, true_positives) = counts
        assert (figures.true_positives, figures.n_positive) == (true_positives, true_positives + false_negatives)
        assert (figures.true_negatives, figures.n_negative) == (true_negatives, true_negatives + false_positives)
        assert figures.auroc == pytest.approx(roc_auc_score(labels[:, label] > 0, logits[:, label]))


def test_cross_fitting_evaluates_each_patient_by_the_others(rng):
    logits, labels = planted(rng, (0.5, 1.0), (0.1, 0.2), n_records=300)
    patients = np.repeat(np.arange(100), 3)
    decisions = cross_fit(logits, labels, patients)
    for patient in (0, 57):
        own, changed = patients == patient, labels.copy()
        changed[own] = 1 - labels[own]
        again = cross_fit(logits, changed, patients)  # whatever labels a patient has, they have no part in it
        np.testing.assert_array_equal(again.probabilities[own], decisions.probabilities[own])
        np.testing.assert_array_equal(again.predicted[own], decisions.predicted[own])
        assert (again.probabilities[~own] != decisions.probabilities[~own]).any()
    alone = cross_fit(logits[:50], labels[:50], np.zeros(50, dtype=np.int64))
    np.testing.assert_array_equal(
        alone.probabilities, fit_calibration(logits[:50], labels[:50]).probabilities(logits[:50])
    )


def test_thresholds_are_hardly_optimistic_on_their_own_records(rng):
    own, crossed, fresh = [], [], []
    for _ in range(20):
        logits, labels = planted(rng, (0.5,), (0.1,), n_records=200)
        others, truth = planted(rng, (0.5,), (0.1,), n_records=2000)
        found = fit_calibration(logits, labels)
        own.append(f1_score(labels > 0, found.predicted(found.probabilities(logits))))
        crossed.append(f1_score(labels > 0, cross_fit(logits, labels, np.arange(200)).predicted))
        fresh.append(f1_score(truth > 0, found.predicted(found.probabilities(others))))
    assert np.mean(own) == pytest.approx(np.mean(fresh), abs=0.02)
    assert np.mean(crossed) == pytest.approx(np.mean(fresh), abs=0.03)


def test_a_label_that_all_records_have_has_no_auroc(rng):
    assert fit_calibration(rng.normal(size=(20, 1)), np.ones((20, 1))).figures[0].auroc is None


def test_identity_is_the_sigmoid_at_one_half():
    identity = Calibration.identity(2)
    probabilities = np.array([[0.2, 0.5]])
    np.testing.assert_allclose(identity.probabilities(logit(probabilities)), probabilities)
    np.testing.assert_array_equal(identity.predicted(probabilities), [[False, True]])


def test_a_calibration_is_stored_as_json_and_read_again(rng):
    found = fit_calibration(*planted(rng, (0.5, 1.0), (0.1, 0.2), n_records=200))
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_a_calibration_needs_a_value_a_label():
    with pytest.raises(ValidationError, match="need a value for each label; found 2, 1 and 2"):
        Calibration(slope=(1.0, 1.0), intercept=(0.0,), thresholds=(0.5, 0.5))
    with pytest.raises(ValidationError, match="finite"):
        Calibration(slope=(float("nan"),), intercept=(0.0,), thresholds=(0.5,))
