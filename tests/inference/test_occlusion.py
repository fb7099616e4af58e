"""Occlusion: the parts that are found important are those that the model reads."""

from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.leads import BASIS_LEADS, STANDARD_LEADS
from data_prep.preprocess import Preprocess
from data_prep.readers import read_record
from ecgmtl.inference.occlusion import occlude, without_lead, without_window
from ecgmtl.inference.predictor import load_predictor


class Summing:
    """A predictor whose logits are the sums of V2 from 4.0 to 4.4 s, and minus that of lead I."""

    metadata = SimpleNamespace(preprocess=Preprocess())

    def logits(self, signals):
        v2, one = (signals[:, STANDARD_LEADS.index(lead)] for lead in ("V2", "I"))
        return np.stack([v2[:, 400:440].sum(axis=1), -one.sum(axis=1)], axis=1).astype(np.float32)

    def reconstruction_rmse(self, signals):
        return None


@pytest.fixture
def signal(records):
    return Preprocess()(read_record(records / "r0.hea")).signal


def test_importance_is_where_the_model_looks(signal):
    signal = signal.copy()
    signal[STANDARD_LEADS.index("V2"), 400:440] += np.hanning(40).astype(np.float32)
    found = occlude(Summing(), signal)
    assert found.step == pytest.approx(0.2)
    assert found.time.shape == (50, 2)
    assert set(np.argsort(found.time[:, 0])[-2:].tolist()) == {20, 21}
    assert not found.time[[*range(18), *range(24, 50)], 0].any()
    assert BASIS_LEADS[int(found.leads[:, 0].argmax())] == "V2"
    assert np.flatnonzero(found.leads[:, 1]).tolist() == [BASIS_LEADS.index("I")]


def test_the_importance_of_a_lead_is_the_fall_of_the_logit_without_it(signal):
    found = occlude(Summing(), signal)
    assert found.leads[BASIS_LEADS.index("I"), 1] == pytest.approx(-signal[0].sum(), abs=1e-3)


def test_what_replaces_a_part_keeps_the_identities_between_leads(signal):
    for copy in (without_window(signal, 300, 340), without_lead(signal, "I"), without_lead(signal, "II")):
        one, two, three, avr, avl, avf = copy[:6]
        np.testing.assert_allclose(three, two - one, atol=0.01)
        np.testing.assert_allclose(avr, -(one + two) / 2, atol=0.01)
        np.testing.assert_allclose(avl + avf, (one + two) / 2, atol=0.01)


def test_a_window_becomes_a_straight_line_between_its_ends(signal):
    copy = without_window(signal, 300, 340)
    assert np.abs(np.diff(copy[:, 299:341], n=2, axis=1)).max() < 1e-5
    np.testing.assert_allclose(copy[:, :300], signal[:, :300])
    np.testing.assert_allclose(copy[:, 340:], signal[:, 340:], atol=1e-6)
    for start in (0, 960):  # at the ends of the record
        assert np.isfinite(without_window(signal, start, start + 40)).all()


def removed(signal, steps):
    for step in steps:
        signal = without_window(signal, 20 * step, 20 * step + 20)
    return signal


def test_removing_important_parts_lowers_the_logit_faster_than_random_ones(exported, records, rng):
    predictor = load_predictor(exported["onnx"].path)
    falls, by_chance = [], []
    for name in ("r0", "r1", "r2"):
        signal = Preprocess()(read_record(records / f"{name}.hea")).signal
        importance, before = occlude(predictor, signal).time[:, 0], predictor.logits(signal[None])[0, 0]
        top = np.argsort(-importance)[:5]
        falls.append(before - predictor.logits(removed(signal, top.tolist())[None])[0, 0])
        draws = np.stack([removed(signal, rng.permutation(50)[:5].tolist()) for _ in range(20)])
        by_chance.append(before - predictor.logits(draws)[:, 0].mean())
    assert all(fall > chance for fall, chance in zip(falls, by_chance, strict=True)), (falls, by_chance)
