import numpy as np
import pytest
import torch

from data_prep.readers import read_record
from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.evaluation.st_segment import find_peaks
from ecgmtl.model.forest.mean_beat import find_beats, mean_beat, steepness

BEATS = (70, 155, 262, 340)
BEFORE, AFTER = 36, 56


@pytest.fixture
def records():
    """Return records with a narrow wave per beat, of another height in each lead, and a broad one 0.25 s later."""
    time = torch.arange(400)
    narrow = torch.stack([torch.exp(-(((time - beat) / 2) ** 2)) for beat in BEATS]).sum(dim=0)
    broad = torch.stack([torch.exp(-(((time - beat - 25) / 9) ** 2)) for beat in BEATS]).sum(dim=0)
    noise = 0.02 * torch.randn(2, 12, 400, generator=torch.Generator().manual_seed(0))
    return torch.linspace(-1, 2, 12)[:, None] * narrow + 0.2 * broad + noise


def beats_of(signals, visible=None):
    steep = steepness(signals, torch.ones_like(signals) if visible is None else visible)
    return [tuple(np.flatnonzero(row)) for row in find_beats(steep, BEFORE + AFTER).numpy()]


def by_hand(values, beats, counted):
    """Compute the mean beat row by row and beat by beat; 0 where no sample counts."""
    total, count = np.zeros((2, len(values), BEFORE + AFTER))
    for beat in beats:
        for offset in range(-BEFORE, AFTER):
            if 0 <= beat + offset < values.shape[1]:
                total[:, offset + BEFORE] += (values * counted)[:, beat + offset]
                count[:, offset + BEFORE] += counted[:, beat + offset]
    return total / np.maximum(count, 1)


@pytest.mark.parametrize("scale", [1, -0.01, 100])
def test_beats_are_found_at_any_voltage(records, scale):
    found = np.array(beats_of(scale * records))
    assert np.abs(found - np.array(BEATS)).max() <= 1


def mean_of(signals, visible=None):
    visible = torch.ones_like(signals) if visible is None else visible
    beats = find_beats(steepness(signals, visible), BEFORE + AFTER)
    return mean_beat(signals, visible, beats, BEFORE, AFTER)


def test_the_mean_is_over_beats_that_lie_within_the_record(records):
    mean, variance = mean_of(records)
    for record, beats, found, varies in zip(records.numpy(), beats_of(records), mean, variance, strict=True):
        everything = np.ones_like(record)
        np.testing.assert_allclose(found, by_hand(record, beats, everything), atol=1e-5)
        np.testing.assert_allclose(varies, by_hand(record**2, beats, everything) - found.numpy() ** 2, atol=1e-4)


def test_masked_samples_do_not_count(records):
    mask = torch.zeros(2, 8, 400, dtype=torch.bool)
    mask[:, 3, 100:200] = mask[:, 0, 300:] = mask[:, 5] = True
    visible = 1 - extend_mask(mask).float()
    mean, _ = mean_of(records, visible)
    for record, seen, beats, found in zip(
        records.numpy(), visible.numpy(), beats_of(records, visible), mean, strict=True
    ):
        np.testing.assert_allclose(found, by_hand(record, beats, seen), atol=1e-5)
    assert not mean[:, 6 + 3].any()  # V4, masked throughout


def test_the_edge_of_a_mask_is_no_beat(records):
    mask = torch.zeros(2, 8, 400, dtype=torch.bool)
    mask[..., 100:130] = True
    high = records + 30  # so that masking creates a step far steeper than any beat
    visible = 1 - extend_mask(mask).float()
    assert beats_of(high * visible, visible) == beats_of(records)


def test_a_record_without_beats_has_a_mean_of_0():
    flat = torch.full((2, 12, 300), 0.3)
    assert not any(found.any() for found in mean_of(flat))
    assert all(found.isfinite().all() for found in mean_of(torch.randn(2, 12, 30)))  # shorter than a beat


def test_one_of_two_equally_steep_moments_is_a_beat():
    steep = torch.zeros(1, 400)
    steep[:, 200:230] = 1.0
    assert find_beats(steep, BEFORE + AFTER).sum() == 1


@pytest.mark.real
def test_beats_of_real_records_are_those_of_gqrs(shared_data):
    for path in sorted((shared_data / "ptbxl-official-100hz").glob("*.hea")):
        signal = read_record(path).signal.T
        wanted = find_peaks(signal, 100.0)
        (found,) = (np.array(beats) for beats in beats_of(torch.from_numpy(signal[None]).float()))
        assert np.abs(wanted[:, None] - found).min(axis=1).max() <= 3  # samples of 10 ms
        inner = found[(found >= wanted[0] - 3) & (found <= wanted[-1] + 3)]  # gqrs adapts to the first beats
        assert len(inner) == len(wanted)
