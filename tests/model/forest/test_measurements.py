import numpy as np
import pytest
import torch

from data_prep.leads import STANDARD_LEADS
from data_prep.readers import read_record
from ecgmtl.data.lead_algebra import algebra
from ecgmtl.evaluation.st_segment import find_peaks
from ecgmtl.model.forest.measurements import VOLTAGES, in_rows, measure

FS = 500.0
BEATS = (0.9, 1.7, 2.6, 3.4, 4.3)
"""Times of R in seconds, in a record of 5 s."""
WAVES = {"p": (-0.16, 0.020, 0.1), "q": (-0.03, 0.006, -0.15), "r": (0.0, 0.010, 1.0), "s": (0.03, 0.007, -0.3)}
"""Waves: seconds from R, width in seconds, and mV in a lead of factor 1."""
FACTORS = torch.tensor([1.0, 1.5, -0.8, 0.2, 0.6, 1.2, 1.4, 1.1])
"""Factors of the 8 independent leads."""


def lead_of(time, fs=FS, t_wave=0.3):
    waves = [*WAVES.values(), (0.26, 0.04, t_wave)]
    about = time[:, None] - torch.tensor(BEATS)
    return sum(mv * torch.exp(-(((about - at) / width) ** 2) / 2).sum(dim=1) for at, width, mv in waves)


def record(fs=FS, **changes):
    leads = FACTORS[:, None] * lead_of(torch.arange(round(5 * fs)) / fs, **changes)
    return (algebra() @ leads)[None]


def value(measured, name, lead=None):
    return float(measured[name][0, 0 if lead is None else STANDARD_LEADS.index(lead)])


@pytest.mark.parametrize("fs", [100.0, 500.0])
def test_a_synthetic_record_measures_as_it_was_made(fs):
    found, gaps = measure(record(fs), None, fs), np.diff(BEATS)
    near = {"abs": 1.5 / fs}
    assert value(found, "rr_mean") == pytest.approx(gaps.mean(), **near)
    assert value(found, "rr_sd") == pytest.approx(gaps.std(), **near)
    assert value(found, "rr_rmssd") == pytest.approx(np.sqrt(np.mean(np.diff(gaps) ** 2)), **near)
    assert (value(found, "rr_min"), value(found, "rr_max")) == pytest.approx((gaps.min(), gaps.max()), **near)
    assert value(found, "beats_a_second") == pytest.approx(1.0)
    assert value(found, "qrs") == pytest.approx(0.1, abs=0.04)  # between the flat parts beside waves of these widths
    for lead, factor in (("I", 1.0), ("II", 1.5), ("V5", 1.4)):
        assert value(found, "r", lead) == pytest.approx(factor, rel=0.1)
        assert value(found, "s", lead) == pytest.approx(-0.3 * factor, rel=0.25)
        assert value(found, "t", lead) == pytest.approx(0.3 * factor, rel=0.1)
        assert value(found, "p", lead) == pytest.approx(0.1 * factor, rel=0.1)
        assert value(found, "p_time", lead) == pytest.approx(0.16 - value(found, "qrs_begins") - 0.02, abs=0.04)
    assert value(found, "q", "V1") == pytest.approx(-0.8, rel=0.1)  # inverted
    assert value(found, "axis") == pytest.approx(np.degrees(np.arctan2(1.0 * 0.7, 0.7)), abs=1)  # aVF is II - I/2 = 1
    assert value(found, "sokolow") == pytest.approx(1.4 + 0.8, rel=0.1)


def test_an_upright_t_wave_and_an_inverted_one_differ_in_sign_alone():
    upright, inverted = (measure(record(t_wave=mv), None, FS) for mv in (0.3, -0.3))
    for name in ("t_area", "t_to_qrs"):
        torch.testing.assert_close(upright[name], -inverted[name], atol=0.01, rtol=0.02)
    torch.testing.assert_close(upright["t"], -inverted["t_low"], atol=0.01, rtol=0.02)
    assert value(upright, "axes_apart") == pytest.approx(0, abs=2)
    assert value(inverted, "axes_apart") == pytest.approx(180, abs=2)


def test_voltages_grow_with_the_signal_and_times_do_not():
    once, twice = (measure(factor * record(), None, FS) for factor in (1, 2))
    for name in ("r", "s", "t", "p", "st_80", "rms", "sokolow", "qrs_area"):
        torch.testing.assert_close(twice[name], 2 * once[name])
    for name in ("rr_mean", "qrs", "r_time", "t_time", "axis"):
        torch.testing.assert_close(twice[name], once[name])
    for name in VOLTAGES:
        torch.testing.assert_close(once[f"{name}_to_rms"], once[name] / once["rms"])
        torch.testing.assert_close(twice[f"{name}_to_rms"], once[f"{name}_to_rms"])


def test_a_masked_lead_measures_0_and_changes_no_other():
    mask = torch.zeros(1, 8, 2500, dtype=torch.bool)
    mask[:, 7] = True  # V6
    seen, found = measure(record(), None, FS), measure(record(), mask, FS)
    garbage = measure(record().index_fill(1, torch.tensor([11]), torch.nan), mask, FS)
    assert torch.equal(in_rows(found), in_rows(garbage))
    assert value(found, "r", "V6") == value(found, "rms", "V6") == 0
    torch.testing.assert_close(found["r"][:, :11], seen["r"][:, :11])


def test_varying_beats_are_distinguished_from_constant_ones():
    steady = record()
    varied = steady.clone()
    varied[..., 800:1100] *= 1.5  # the second of five
    assert value(measure(varied, None, FS), "varies_in_qrs") > 10 * value(measure(steady, None, FS), "varies_in_qrs")


@pytest.mark.parametrize(
    "signals",
    [torch.zeros(2, 12, 1000), torch.randn(2, 12, 20), torch.randn(2, 12, 1000), 1e4 * torch.ones(2, 12, 500)],
)
def test_everything_is_finite_whatever_the_signal(signals):
    assert in_rows(measure(signals, None, 100.0)).isfinite().all()


def test_records_do_not_disturb_each_other():
    alone = in_rows(measure(record(), None, FS))
    amid = in_rows(measure(torch.cat([torch.randn(1, 12, 2500), record(), torch.zeros(1, 12, 2500)]), None, FS))
    assert torch.equal(amid[1:2], alone)


@pytest.mark.real
def test_intervals_of_real_records_are_those_of_gqrs(shared_data):
    paths = sorted((shared_data / "ptbxl-official-100hz").glob("*.hea"))
    for path in paths:
        signal = read_record(path).signal.T
        peaks = find_peaks(signal, 100.0)
        found = measure(torch.from_numpy(signal[None]).float(), None, 100.0)
        assert value(found, "rr_mean") == pytest.approx(np.diff(peaks).mean() / 100, rel=0.05)
        assert 0.06 <= value(found, "qrs") <= 0.2
    assert paths


def test_padding_of_a_short_record_is_not_measured():
    short, long = record(100.0), torch.zeros(1, 12, 1000)
    long[..., : short.shape[-1]] = short
    found, wanted = measure(long, None, 100.0), measure(short, None, 100.0)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], msg=name)
