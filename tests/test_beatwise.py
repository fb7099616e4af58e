import pytest
import torch
import torch.nn.functional as F

from ecgmtl.encoders.beatwise import BeatwiseSettings
from ecgmtl.encoders.mean_beat import mean_beat

SETTINGS = BeatwiseSettings(lead_widths=(4, 6), widths=(8, 10, 12), beat_width=5)


@pytest.fixture(params=[{}, {"n_blocks": 2}, {"kernel_size": 11}], ids=str)
def encoder(request):
    encoder = BeatwiseSettings(**SETTINGS.model_dump() | request.param).build(20).eval()
    for name, parameter in encoder.named_parameters():
        if name.endswith("second_norm.weight"):  # zero at the start, so that blocks begin as shortcuts
            torch.nn.init.ones_(parameter)
    return encoder


@pytest.fixture
def rows():
    """A beat every 80 samples, the same one throughout."""
    return (torch.randn(3, 12, 80) + 20 * torch.eye(80)[17]).tile(1, 1, 5)


def test_each_level_has_the_features_of_the_beat_beside_its_own(encoder):
    assert sorted(set(encoder.widths)) == [8 + 5, 10 + 5, 12 + 5]
    assert sorted(set(encoder.strides)) == [4, 8, 16]


def test_in_time_it_reads_what_leads_and_stages_read(encoder, rows):
    wanted = encoder.both.leads(rows)
    for place, level in enumerate(encoder.levels(rows)):
        if place:
            wanted = encoder.blocks[place - 1].block(wanted)
        # after its end a record goes on at 0 mV, which norms make something else of
        torch.testing.assert_close(level[:, :-5, :-20], wanted[..., :-20], atol=1e-5, rtol=1e-4)


def test_every_frame_of_every_level_has_what_the_mean_beat_says(encoder, rows):
    read, beat, gap = encoder.both.read, mean_beat(rows, *SETTINGS.beat), encoder.both.gap
    joined = encoder.both.leads(F.pad(beat, (4 * gap, 0)))[..., gap:]
    shapes = F.relu(read.shapes_norm(read.shapes(joined)))
    said = F.relu(read.places_norm(shapes.flatten(1) @ read.places.weight.T))
    assert said.any()
    for level in encoder.levels(rows):
        torch.testing.assert_close(level[:, -5:], said[..., None].expand(-1, -1, level.shape[-1]), atol=1e-5, rtol=1e-4)


def test_what_the_mean_beat_says_does_not_depend_on_when_a_record_begins(encoder, rows):
    said = encoder(rows)[:, -5:, 0]
    torch.testing.assert_close(encoder(rows[..., 83:])[:, -5:, 0], said, atol=1e-6, rtol=1e-3)
    assert not torch.allclose(encoder(-rows)[:, -5:, 0], said, atol=1e-6, rtol=1e-3)
