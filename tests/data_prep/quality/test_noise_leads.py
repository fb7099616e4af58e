"""Leads of ordinary size that carry noise alone forbid a decision."""

import numpy as np
import pytest

from data_prep import Preprocess
from data_prep.leads import BASIS_LEADS, STANDARD_LEADS, derive_limb_leads, leads_are
from data_prep.quality.noise_leads import find_noise
from data_prep.synthetic.waveform import synthesize
from tests.wfdb_files import doubts, make_record, sentences

FS = 100


@pytest.fixture(scope="module")
def ecg():
    return (synthesize(["NORM", "SR"], FS, 10.0, np.random.default_rng(0)) / 1000).astype(np.float32)


def with_noise(ecg, leads, size=0.3):
    signal, columns = ecg.copy(), [STANDARD_LEADS.index(lead) for lead in leads]
    signal[:, columns] = size * np.random.default_rng(1).standard_normal((len(signal), len(columns)))
    return make_record(signal, FS)


@pytest.mark.parametrize("leads", [("V3",), ("V2", "V5"), ("V1", "V2", "V3", "V4", "V5", "V6"), ("I", "II")])
@pytest.mark.parametrize("size", [0.1, 1.0])
def test_leads_of_noise_are_named_and_forbid_a_decision(ecg, leads, size):
    prepared = Preprocess()(with_noise(ecg, leads, size))
    noise, *others = doubts(prepared)
    assert noise == f"{leads_are(leads)} only noise, of which the other leads explain nothing."
    assert [other.partition(" ")[0] for other in others] == (
        ["III"] if "I" in leads else []
    )  # noise breaks III = II - I
    assert noise in sentences(prepared)


def test_an_ecg_with_noise_wander_or_low_voltage_is_decided(ecg):
    rng = np.random.default_rng(2)
    noisy = ecg + 0.02 * rng.standard_normal(ecg.shape).astype(np.float32)
    sizes = {lead: rng.uniform(-1, 1, 1).astype(np.float32) for lead in BASIS_LEADS}
    derive_limb_leads(sizes)
    seconds = np.arange(len(ecg)) / FS
    wander = np.sin(2 * np.pi * 0.15 * seconds)[:, None] * np.concatenate([sizes[lead] for lead in STANDARD_LEADS])
    for signal in (ecg, noisy, ecg + wander.astype(np.float32), 0.6 * ecg):
        assert doubts(Preprocess()(make_record(signal, FS))) == []


def test_the_share_that_others_explain_is_that_of_a_regression():
    rng = np.random.default_rng(3)
    shared = rng.standard_normal(1000)
    shares = np.linspace(0.02, 0.5, 8)
    rows = np.sqrt(shares)[:, None] * shared + np.sqrt(1 - shares)[:, None] * rng.standard_normal((8, 1000))
    explained = []
    for index, row in enumerate(rows):
        others = np.delete(rows, index, axis=0).T
        others = np.column_stack([others, np.ones(1000)])
        residual = row - others @ np.linalg.lstsq(others, row)[0]
        explained.append(1 - residual.var() / row.var())
    expected = tuple(lead for lead, share in zip(BASIS_LEADS, explained, strict=True) if share < 0.1)
    assert 0 < len(expected) < 8
    assert find_noise(BASIS_LEADS, rows.astype(np.float32)) == expected


def test_leads_that_were_not_measured_are_not_judged(ecg):
    noisy = with_noise(ecg, ["V3"]).signal.T
    assert find_noise(STANDARD_LEADS, noisy) == ("V3",)
    assert find_noise(STANDARD_LEADS, noisy, {"V3"}) == ()
    assert find_noise(STANDARD_LEADS, noisy, {"V1", "V2", "V4"}) == ()  # too few are left to judge by
