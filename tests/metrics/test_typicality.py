import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.distance import mahalanobis

from data_prep.synthetic.waveform import synthesize
from ecgmtl.metrics import typicality
from ecgmtl.metrics.typicality import DESCRIBE, RIDGE, Typicality, describe, fit_part, fit_typicality

CLASSES = ("NORM", "IMI", "LVH", "CLBBB")


def ecgs(seeds):
    """Synthetic ECGs of four classes and different sizes, in mV."""
    sizes = np.random.default_rng(seeds.start).lognormal(0, 0.3, len(seeds))
    made = [synthesize([CLASSES[seed % 4], "SR"], 100, 10.0, np.random.default_rng(seed)) for seed in seeds]
    signals = np.stack([size * ecg.T / 1000 for size, ecg in zip(sizes, made, strict=True)])
    return (signals - signals.mean(axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def validation():
    return ecgs(range(2000, 2199))


@pytest.fixture(scope="module")
def fitted(validation):
    return fit_typicality([ecgs(range(1000, 1100)), ecgs(range(1100, 1200))], [validation], 100)


@pytest.fixture(scope="module")
def fresh():
    return ecgs(range(3000, 3100))


def test_at_most_one_in_a_hundred_validation_records_is_unlike_and_few_fresh_ones(fitted, validation, fresh):
    assert (fitted.n_train, fitted.n_validation) == (200, 199)
    assert (fitted.scores(validation).values > 1.00001).sum() == 1
    assert (fitted.scores(fresh).values > 1).mean() < 0.04


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda x: x / 10, "size"),
        (lambda x: np.tile(x[..., ::2], 2), "course"),
        (lambda x: x[:, ::-1], "leads"),
        (lambda x: -x, None),
        (lambda x: 0 * x, None),
    ],
)
def test_a_fault_makes_a_record_unlike_and_is_named(fitted, fresh, change, part):
    scores = fitted.scores(np.ascontiguousarray(change(fresh)))
    assert (scores.values > 1).mean() > 0.95
    assert np.isfinite(scores.values).all()
    if part:
        assert max(set(scores.parts), key=scores.parts.count) == part


def test_the_distance_of_a_part_is_that_of_mahalanobis(rng):
    numbers = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    deviations = numbers.std(axis=0) + typicality.TINY
    covariance = np.cov((numbers / deviations).T) + RIDGE * np.eye(4)
    inverse = np.linalg.inv(covariance * np.outer(deviations, deviations))
    expected = np.array([mahalanobis(row, numbers.mean(axis=0), inverse) for row in numbers])
    found = fit_part(numbers).distances(numbers)
    np.testing.assert_allclose(found, expected / np.quantile(expected, 0.995), rtol=1e-4)


def test_neither_the_batch_nor_padding_changes_a_score(fitted, fresh):
    padded = fresh[:3].copy()
    padded[1, :, 600:] = 0
    together = fitted.scores(np.concatenate([padded, fresh[:70]])).values
    np.testing.assert_allclose(together[:3], [fitted.scores(one[None]).values[0] for one in padded], rtol=1e-4)
    short = fresh[1:2, :, :600] - fresh[1:2, :, :600].mean(axis=2, keepdims=True)
    np.testing.assert_allclose(together[1], fitted.scores(short).values[0], rtol=1e-4)


def test_all_numbers_of_a_flat_record_are_finite():
    numbers = describe([np.zeros((2, 12, 300), np.float32)], 100)
    assert numbers.keys() == DESCRIBE.keys()
    assert all(np.isfinite(values).all() and len(values) == 2 for values in numbers.values())


@pytest.mark.parametrize(("fs", "n_samples"), [(50, 50), (100, 200), (500, 5000)])
def test_any_rate_and_length_of_a_model_can_be_described(rng, fs, n_samples):
    signals = rng.normal(size=(120, 12, n_samples)).astype(np.float32)
    fitted = fit_typicality([signals], [signals], fs)
    assert (fitted.scores(signals).values <= 1.00001).sum() >= 118


def test_fewer_than_99_validation_records_allow_no_bound(fresh):
    assert fit_typicality([fresh], [fresh[:98]], 100) is None
    assert fit_typicality([fresh], [fresh[:99]], 100) is not None
    assert fit_typicality([], [fresh], 100) is None


def test_it_survives_json_and_damaged_values_are_refused(fitted, fresh):
    again = Typicality.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    tree = fitted.model_dump(mode="json")
    tree["parts"]["size"]["mean"] = [0.0, 0.0]
    with pytest.raises(ValidationError, match="square matrix for 2 numbers"):
        Typicality.model_validate(tree)
    del tree["parts"]["size"]
    with pytest.raises(ValidationError, match="typicality should describe"):
        Typicality.model_validate(tree)
