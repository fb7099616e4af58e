import numpy as np
import pytest

from data_prep.filters import resample
from data_prep.leads import STANDARD_LEADS, electrode_algebra, identity_errors
from data_prep.quality.lost_voltage import TYPICAL_MV
from data_prep.readers import read_record
from ecgmtl.evaluation.perturbations import (
    FAMILIES,
    PERTURBATIONS,
    CleanRecords,
    add_noise,
    add_wander,
    filter_like_monitor,
)
from tests.wfdb_files import beats

FS = 100.0


@pytest.fixture
def signals():
    values = np.stack([beats().T, 0.5 * beats().T, beats().T[:, ::-1]])
    return CleanRecords(values.astype(np.float32), FS, ("a", "b", "c"))


def sine(hertz, seconds=100.0):
    time = np.arange(seconds * FS) / FS
    return CleanRecords(np.tile(np.sin(2 * np.pi * hertz * time), (1, 12, 1)).astype(np.float32), FS, ("sine",))


def identities(values):
    """How far limb leads are from Einthoven's and Goldberger's identities, in mV."""
    rows = dict(zip(STANDARD_LEADS, values.swapaxes(0, 1).reshape(12, -1), strict=True))
    return np.abs(list(identity_errors(rows).values())).max()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_changes_a_copy_and_has_a_description(signals, name):
    before = signals.values.copy()
    found = PERTURBATIONS[name].change(signals)
    assert found.dtype == np.float32
    assert found.shape[:2] == (3, 12)
    assert np.isfinite(found).all()
    assert found.shape != before.shape or not np.array_equal(found, before)
    np.testing.assert_array_equal(signals.values, before)
    assert PERTURBATIONS[name].description
    assert PERTURBATIONS[name].family in ("", *FAMILIES)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_perturbations_of_a_record_do_not_depend_on_its_batch(signals, name):
    together = PERTURBATIONS[name].change(signals)
    alone = PERTURBATIONS[name].change(CleanRecords(signals.values[1:2], FS, ("b",)))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)


@pytest.mark.parametrize("name", [n for n, p in PERTURBATIONS.items() if not p.family and n != "lead_voltages_lost"])
def test_perturbations_of_electrodes_keep_the_identities_of_the_leads(signals, name):
    assert identities(PERTURBATIONS[name].change(signals)) < 1e-4


def test_swapped_arms_invert_one_lead_and_exchange_two_pairs(signals):
    found, was = PERTURBATIONS["arms_swapped"].change(signals), signals.values
    np.testing.assert_array_equal(found[:, 0], -was[:, 0])
    np.testing.assert_array_equal(found[:, [1, 2, 3, 4]], was[:, [2, 1, 4, 3]])
    np.testing.assert_array_equal(found[:, 5:], was[:, 5:])


def test_swapping_leads_equals_swapping_electrodes(rng):
    potentials = rng.normal(size=(9, 1000))
    leads = electrode_algebra() @ potentials
    swapped = electrode_algebra() @ potentials[[1, 0, *range(2, 9)]]  # the left arm's wire on the right
    found = PERTURBATIONS["arms_swapped"].change(CleanRecords(leads[None].astype(np.float32), FS, ("x",)))
    np.testing.assert_allclose(found[0], swapped, atol=1e-5)


def test_the_filter_removes_the_baseline_and_keeps_the_beats():
    inner = slice(1000, -1000)  # seconds 10 to 90: the filter distorts both ends
    slow, kept = (2**0.5 * filter_like_monitor(sine(hertz))[..., inner].std() for hertz in (0.1, 10.0))
    assert 20 * np.log10(slow) < -20
    assert kept == pytest.approx(1.0, abs=0.01)


def test_the_upper_edge_is_left_out_where_the_sampling_rate_is_too_low():
    values = np.tile(np.sin(2 * np.pi * 10 * np.arange(1200) / 60), (1, 12, 1)).astype(np.float32)
    found = filter_like_monitor(CleanRecords(values, 60.0, ("x",)))
    np.testing.assert_allclose(found[..., 300:-300], values[..., 300:-300], atol=0.01)


@pytest.mark.parametrize("name", ["from_250_hz", "from_1000_hz"])
def test_resampling_through_another_rate_keeps_the_beats(signals, name):
    found = PERTURBATIONS[name].change(signals)
    assert found.shape == signals.values.shape
    np.testing.assert_allclose(found[..., 50:-50], signals.values[..., 50:-50], atol=0.02)


@pytest.mark.real
def test_resampling_is_like_a_record_sampled_at_another_rate(shared_data):
    path = min((shared_data / "ptbxl-sample/records500").rglob("*.hea"))
    fine = np.ascontiguousarray(read_record(path).signal.T)
    there = resample(resample(fine, 500.0, 250.0), 250.0, FS)  # a recorder of 250 Hz, then reading
    here = resample(fine, 500.0, FS)
    found = PERTURBATIONS["from_250_hz"].change(CleanRecords(here[None], FS, ("x",)))[0]
    assert np.sqrt(np.square(there - here).mean()) < 0.005
    assert np.sqrt(np.square(found - here).mean()) < 0.005


@pytest.mark.parametrize("decibels", [18, 12])
def test_noise_has_the_power_that_it_states(signals, decibels):
    added = add_noise(decibels, signals) - signals.values
    power = signals.values.var(axis=-1).mean(axis=-1)
    found = 10 * np.log10(power / np.square(added).mean(axis=(1, 2)))
    np.testing.assert_allclose(found, decibels, atol=0.01)


def test_a_flat_record_gets_no_noise():
    flat = CleanRecords(np.zeros((1, 12, 500), np.float32), FS, ("flat",))
    np.testing.assert_array_equal(add_noise(12, flat), 0.0)


def test_wander_has_its_frequency_and_amplitude(signals):
    added = (add_wander(signals) - signals.values)[:, 6:]
    spectrum = np.abs(np.fft.rfft(added * np.hanning(1000)))
    assert spectrum[..., 10:].max() < 0.05 * spectrum.max()  # from 1 Hz on
    # a chest electrode less a third of each limb electrode: at most 0.3 + 3 * 0.1 mV
    assert 0.3 < np.abs(added).max() <= 0.6


def test_amplitudes_are_scaled(signals):
    for percent in (80, 90, 110, 120):
        found = PERTURBATIONS[f"amplitude_{percent}_percent"].change(signals)
        np.testing.assert_allclose(found, signals.values * percent / 100, rtol=1e-6)


@pytest.mark.parametrize(("name", "axes"), [("voltage_lost", (1, 2)), ("lead_voltages_lost", 2)])
def test_lost_voltages_do_not_affect_the_result(signals, name, axes):
    found = PERTURBATIONS[name].change(signals)
    np.testing.assert_allclose(np.sqrt(np.square(found).mean(axis=axes)), TYPICAL_MV, rtol=1e-5)
    louder = PERTURBATIONS[name].change(signals._replace(values=3 * signals.values))
    np.testing.assert_allclose(louder, found, atol=1e-6)
    np.testing.assert_array_equal(PERTURBATIONS[name].change(signals._replace(values=0 * signals.values)), 0.0)


def test_each_lead_is_flat_once(signals):
    flat = {lead: PERTURBATIONS[f"flat_{lead}"].change(signals) for lead in STANDARD_LEADS}
    for row, lead in enumerate(STANDARD_LEADS):
        assert not flat[lead][:, row].any()
        others = [i for i in range(12) if i != row]
        np.testing.assert_array_equal(flat[lead][:, others], signals.values[:, others])
    assert [PERTURBATIONS[f"missing_V{i}"].missing for i in range(1, 7)] == list(STANDARD_LEADS[6:])


def test_a_short_record_is_the_first_two_and_a_half_seconds(signals):
    np.testing.assert_array_equal(PERTURBATIONS["short"].change(signals), signals.values[..., :250])
