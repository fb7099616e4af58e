"""Resampling and filtering, against scipy.signal."""

import platform

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfilt, sosfilt_zi

from data_prep.filters import band_pass, ratio_of, resample


def leads(n_samples, n_leads=12):
    """Leads in mV that drift and have an offset, as electrodes do."""
    steps = np.random.default_rng(n_samples).normal(0, 0.05, (n_leads, n_samples))
    return (steps.cumsum(axis=1) + 5).astype(np.float32)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compilers fuse products and sums elsewhere")
@pytest.mark.parametrize("new", [100, 250, 500])
@pytest.mark.parametrize("old", [100.0, 128.0, 240.0, 257.0, 360.0, 500.0, 999.9, 1000.0])
def test_resampling_gives_the_bits_that_scipy_gives(old, new):
    signal, ratio = leads(round(3 * old)), ratio_of(new, old)
    expected = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    assert np.array_equal(resample(signal, old, new), expected)


@settings(max_examples=30, deadline=None)
@given(old=st.floats(50, 2000), new=st.integers(50, 1000), n_samples=st.integers(2, 700))
@example(old=1700.125, new=100, n_samples=1700)
@example(old=50.0, new=1000, n_samples=2)
def test_resampling_agrees_with_scipy_at_any_rate(old, new, n_samples):
    signal, ratio = leads(n_samples, 2), ratio_of(new, old)
    expected = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    assert resample(signal, old, new) == pytest.approx(expected, abs=2e-6)


def scipy_band_pass(signal, fs, low, high):
    band = (2, low, "highpass") if high is None else (2, (low, high), "bandpass")
    sections = butter(*band, fs=fs, output="sos")
    settled = sosfilt_zi(sections).reshape(len(sections), *[1] * (signal.ndim - 1), 2)
    reach = min(signal.shape[-1] - 1, round(1.5 * fs / low))
    samples = np.concatenate([signal[..., reach:0:-1], signal, signal[..., -2 : -reach - 2 : -1]], axis=-1)
    for _ in range(2):
        samples = sosfilt(sections, samples, zi=samples[..., :1] * settled)[0][..., ::-1]
    return samples[..., reach : reach + signal.shape[-1]]


@pytest.mark.parametrize("n_samples", [1, 2, 31, 32, 33, 1000, 5000])
@pytest.mark.parametrize("fs", [100, 500])
@pytest.mark.parametrize("band", [(0.5, 40.0), (0.05, 45.0), (0.67, 25.0), (20.0, 21.0), (0.5, None), (40.0, None)])
def test_the_band_pass_agrees_with_scipy_to_half_a_unit_in_the_last_place(fs, band, n_samples):
    signal = leads(n_samples)
    expected, result = scipy_band_pass(signal, fs, *band), band_pass(signal, fs, *band)
    assert np.abs(result - expected).max() <= 0.501 * np.spacing(np.abs(result)).max() + 1e-10


def test_many_records_are_filtered_as_each_one_alone():
    signals = leads(64_000).reshape(64, 12, 1000)
    together = band_pass(signals, 100, 0.5, 40.0)
    assert together.shape == signals.shape
    assert all(np.array_equal(band_pass(one, 100, 0.5, 40.0), row) for one, row in zip(signals, together, strict=True))
