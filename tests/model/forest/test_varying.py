"""Deviation of single beats from their mean, by part of the beat."""

import pytest
import torch

from ecgmtl.model.forest.measurements import measure, varying
from tests.model.forest.test_measurements import BEATS, FS, record, value

PARTS = ("before", "in", "after")


def test_each_part_of_a_beat_has_the_deviation_of_its_own_samples():
    variance = torch.tensor([[1.0, 1.0, 1.0, 4.0, 4.0, 9.0, 9.0, 9.0, 9.0]], dtype=torch.float64)
    found = varying(variance, torch.tensor([[3]]), torch.tensor([[4]]))
    assert [found[f"varies_{part}_qrs"].item() for part in PARTS] == [1.0, 2.0, 3.0]


def test_a_qrs_complex_of_one_sample_and_a_beat_without_any_before_it():
    variance = torch.tensor([[4.0, 9.0, 9.0]], dtype=torch.float64)
    found = varying(variance, torch.tensor([[0]]), torch.tensor([[0]]))
    assert [found[f"varies_{part}_qrs"].item() for part in PARTS] == [0.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("part", "seconds"), [("before", (-0.2, -0.12)), ("in", (-0.02, 0.02)), ("after", (0.2, 0.32))]
)
def test_a_change_of_one_beat_is_found_where_it_is(part, seconds):
    steady = record()
    start, stop = (round((BEATS[1] + at) * FS) for at in seconds)
    varied = steady.clone()
    varied[..., start:stop] *= 1.5
    before, after = measure(steady, None, FS), measure(varied, None, FS)
    risen = {name: value(after, f"varies_{name}_qrs") - value(before, f"varies_{name}_qrs") for name in PARTS}
    others = [risen[name] for name in PARTS if name != part]
    assert risen[part] > 0.005
    assert risen[part] > 5 * max(others)
