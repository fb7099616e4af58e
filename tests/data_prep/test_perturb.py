"""Perturbations do the same to NumPy arrays and to torch tensors."""

import numpy as np
import pytest
import torch

from data_prep.leads import STANDARD_LEADS, derive_limb_leads
from data_prep.perturb import scale_to_rms, swap_arms, wander


@pytest.fixture
def signals(rng):
    return rng.normal(size=(3, 12, 200))


def test_swapping_the_arms_is_what_the_electrodes_measure_then(rng):
    right_arm, left_arm, leg = rng.normal(size=(3, 200)).astype(np.float32)

    def limb_leads(right, left):
        leads = {"I": left - right, "II": leg - right}
        derive_limb_leads(leads)
        return np.stack([leads[lead] for lead in STANDARD_LEADS[:6]])

    chest = rng.normal(size=(6, 200))
    measured = np.concatenate([limb_leads(right_arm, left_arm), chest])
    swapped = np.concatenate([limb_leads(left_arm, right_arm), chest])
    np.testing.assert_allclose(swap_arms(measured), swapped, atol=1e-6)


def test_arrays_and_tensors_are_perturbed_alike(signals, rng):
    uniform, seconds = rng.random((2, 3, 12, 1)), np.arange(200) / 100
    tensor = torch.from_numpy(signals)
    np.testing.assert_array_equal(swap_arms(tensor).numpy(), swap_arms(signals))
    np.testing.assert_allclose(scale_to_rms(tensor, 0.24, (-2, -1)).numpy(), scale_to_rms(signals, 0.24, (-2, -1)))
    tensors = torch.from_numpy(uniform), torch.from_numpy(seconds)
    np.testing.assert_allclose(wander(*tensors).numpy(), wander(uniform, seconds))


def test_the_signals_that_are_passed_stay_as_they_are(signals):
    before = signals.copy()
    swap_arms(signals)
    scale_to_rms(signals, 1.0, (-1,))
    np.testing.assert_array_equal(signals, before)


@pytest.mark.parametrize("axes", [(-1,), (-2, -1)])
def test_scaling_reaches_the_rms_and_leaves_flat_leads_flat(signals, axes):
    signals[0, 3] = 0
    scaled = scale_to_rms(signals, 0.24, axes)
    rms = np.sqrt(np.square(scaled).mean(axis=axes))
    expected = np.full(rms.shape, 0.24)
    if axes == (-1,):
        expected[0, 3] = 0
    np.testing.assert_allclose(rms, expected)
    assert not scaled[0, 3].any()
