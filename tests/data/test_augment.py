import math

import pytest
import torch

from data_prep.perturb import swap_arms
from data_prep.quality.lost_voltage import TYPICAL_MV
from ecgmtl.data.augment import LOST_SPREAD, AugmentSettings, augment, beta_quantiles, sample_positions
from ecgmtl.data.batch import Batch


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def batch():
    return Batch(torch.randn(64, 12, 100), (torch.rand(64, 5) > 0.5).float())


def test_a_shifted_crop_wraps_around_the_end():
    positions = sample_positions(200, 1000, 100.0, AugmentSettings(crop_seconds=5.0, shift=True), generator())
    assert positions.shape == (200, 500)
    assert torch.equal((positions[:, 1:] - positions[:, :-1]) % 1000, torch.ones(200, 499, dtype=torch.long))
    assert (positions[:, 0] > positions[:, -1]).any()


def test_an_unshifted_crop_stays_within_the_record():
    positions = sample_positions(200, 1000, 100.0, AugmentSettings(crop_seconds=5.0), generator())
    assert (positions[:, -1] - positions[:, 0] == 499).all()
    assert positions.max() < 1000


def test_amplitude_scales_the_voltage_alone(batch):
    changed = augment(batch, 100.0, AugmentSettings(amplitude=0.2), generator(), generator())
    ratio = changed.signals / batch.signals
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio), atol=1e-3, rtol=1e-3)
    assert ratio[:, 0, 0].log().std().item() == pytest.approx(0.2, rel=0.3)
    assert torch.equal(changed.labels, batch.labels)


@pytest.mark.parametrize(("setting", "axes"), [("voltage_loss", (1, 2)), ("lead_voltage_loss", 2)])
def test_lost_voltage_gives_all_records_the_same_scale(batch, setting, axes):
    settings = AugmentSettings.model_validate({setting: 0.5})
    levels = torch.arange(1.0, 13)[:, None] * torch.arange(1.0, 65)[:, None, None]
    signals = levels * batch.signals
    signals[0] = 0
    changed = augment(batch._replace(signals=signals), 100.0, settings, generator(), generator())
    assert torch.equal(changed.signals, signals)
    lost = (changed.input != signals).flatten(1).any(dim=1)
    assert lost.float().mean().item() == pytest.approx(0.5, abs=0.15)
    found = changed.input[lost].square().mean(dim=axes).sqrt().log()
    assert found.mean().item() == pytest.approx(math.log(TYPICAL_MV), abs=0.15)
    assert found.std().item() == pytest.approx(LOST_SPREAD, abs=0.1)


def test_noise_and_dropped_leads_change_the_input_alone(batch):
    changed = augment(batch, 100.0, AugmentSettings(noise=0.1, lead_dropout=0.3), generator(), generator())
    assert torch.equal(changed.signals, batch.signals)
    flat = (changed.input == 0).all(dim=2)
    assert flat.float().mean().item() == pytest.approx(0.3, abs=0.05)
    difference = (changed.input - batch.signals)[~flat]
    assert difference.std().item() == pytest.approx(0.1, rel=0.05)


def test_missing_leads_are_masked_throughout(batch):
    changed = augment(batch, 100.0, AugmentSettings(leads_missing=0.3), generator(), generator())
    assert torch.equal(changed.mask.any(dim=2), changed.mask.all(dim=2))
    assert changed.mask.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(changed.input, batch.signals)


def test_mixup_blends_labels_as_it_blends_signals(batch):
    telling = batch._replace(signals=batch.labels[:, :1, None].expand(-1, 12, 100).contiguous())
    mixed = augment(telling, 100.0, AugmentSettings(mixup=1.0), generator(), generator())
    torch.testing.assert_close(mixed.signals[:, 0, 0], mixed.labels[:, 0])
    assert ((mixed.labels > 0) & (mixed.labels < 1)).any()


def test_mixup_partners_are_from_the_same_half(batch):
    n, half = len(batch.labels), len(batch.labels) // 2
    positions = (torch.arange(n) >= half).float()[:, None].expand(-1, batch.labels.shape[1])
    mixed = augment(batch._replace(labels=positions), 100.0, AugmentSettings(mixup=1.0), generator(), generator())
    assert torch.equal(mixed.labels, positions)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_mixup_fractions_follow_beta(alpha):
    share = beta_quantiles(alpha, torch.device("cpu")).double()
    assert share.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)


def test_without_crop_seconds_a_record_is_whole():
    positions = sample_positions(3, 1000, 100.0, AugmentSettings(), generator())
    assert torch.equal(positions, torch.arange(1000).expand(3, -1))
    longer = sample_positions(3, 1000, 100.0, AugmentSettings(crop_seconds=60.0), generator())
    assert torch.equal(longer, positions)


def test_a_shifted_record_keeps_all_its_samples():
    positions = sample_positions(50, 100, 100.0, AugmentSettings(shift=True), generator())
    assert torch.equal(positions.sort(dim=1).values, torch.arange(100).expand(50, -1))
    assert len(set(positions[:, 0].tolist())) > 30


def test_mixup_keeps_the_mean_of_the_labels(batch):
    with_second = batch._replace(auxiliary_labels={"some": batch.labels[:, :2]})
    mixed = augment(with_second, 100.0, AugmentSettings(mixup=0.5), generator(), generator())
    assert mixed.labels.min() >= 0
    assert mixed.labels.max() <= 1
    torch.testing.assert_close(mixed.labels.mean(dim=0), batch.labels.mean(dim=0), atol=0.15, rtol=0)
    assert torch.equal(mixed.auxiliary_labels["some"], mixed.labels[:, :2])


def test_the_same_generators_give_the_same_batch(batch):
    settings = AugmentSettings(amplitude=0.1, noise=0.1, lead_dropout=0.2, mixup=0.4)
    one, two = (augment(batch, 100.0, settings, generator(), generator()) for _ in range(2))
    assert torch.equal(one.input, two.input)
    assert torch.equal(one.labels, two.labels)


def test_default_settings_change_nothing(batch):
    same = augment(batch, 100.0, AugmentSettings(), generator(), generator())
    assert torch.equal(same.signals, batch.signals)
    assert torch.equal(same.input, batch.signals)
    assert torch.equal(same.labels, batch.labels)


def test_a_crop_has_at_least_one_sample():
    assert sample_positions(3, 100, 0.1, AugmentSettings(crop_seconds=0.5), generator()).shape == (3, 1)


def test_baseline_wander_is_slow_and_changes_the_input_alone():
    quiet = Batch(torch.zeros(64, 12, 1000), torch.zeros(64, 5))
    changed = augment(quiet, 100.0, AugmentSettings(wander=0.3), generator(), generator())
    assert not changed.signals.any()
    assert changed.input.std().item() == pytest.approx(0.3, rel=0.05)
    spectrum = torch.fft.rfft(changed.input * torch.hann_window(1000)).abs().square().mean(dim=(0, 1))
    assert spectrum[:8].sum() > 0.999 * spectrum.sum()  # up to 0.7 Hz, in steps of 0.1 Hz


def test_swapped_arms_match_the_electrode_potentials(batch):
    limbs = torch.randn(3, 3, 50)  # right arm, left arm, left leg of three records
    right, left, leg = limbs.unbind(dim=1)

    def leads(right, left):
        central = (right + left + leg) / 3
        limb_leads = [left - right, leg - right, leg - left]
        augmented = [1.5 * (electrode - central) for electrode in (right, left, leg)]
        return torch.stack([*limb_leads, *augmented], dim=1)

    chest = torch.zeros(3, 6, 50)
    before, after = (torch.cat([leads(*arms), chest], dim=1) for arms in ((right, left), (left, right)))
    torch.testing.assert_close(swap_arms(before), after)
    settings = AugmentSettings(arm_swap=0.5)
    changed = augment(Batch(before, torch.zeros(3, 2)), 100.0, settings, generator(), generator())
    is_swapped = [torch.equal(seen, swap) for seen, swap in zip(changed.input, swap_arms(before), strict=True)]
    is_same = [torch.equal(seen, own) for seen, own in zip(changed.input, before, strict=True)]
    assert [swap != same for swap, same in zip(is_swapped, is_same, strict=True)] == [True] * 3
    assert torch.equal(changed.signals, before)
