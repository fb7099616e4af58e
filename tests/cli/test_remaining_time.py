import math

import pytest

from ecgmtl.cli.remaining_time import RemainingTime, spell_time


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def test_later_stages_are_expected_to_have_the_mean_speed_so_far():
    clock = Clock()
    left = RemainingTime(clock)
    left.begin([4, 8, 2], 0, 0)
    assert math.isnan(left.seconds())
    clock.seconds += 6
    left.advance(2)  # 3 s an epoch: 2 more of this stage, 10 later
    assert left.seconds() == pytest.approx(36)
    clock.seconds += 6
    left.advance(4)
    left.begin([4, 8, 2], 1, 0)
    assert left.seconds() == pytest.approx(30)
    clock.seconds += 18
    left.advance(2)  # 9 s an epoch here, and a mean of 5 s
    assert left.seconds() == pytest.approx(6 * 9 + 2 * 5)


def test_epochs_before_an_interruption_do_not_count_for_the_speed():
    clock = Clock()
    left = RemainingTime(clock)
    left.begin([4, 8], 1, 6)
    assert math.isnan(left.seconds())
    clock.seconds += 5
    left.advance(6.5)
    assert left.seconds() == pytest.approx(15)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(29, "under a minute"), (31, "1 min"), (3569, "59 min"), (3571, "1 h 0 min"), (4800, "1 h 20 min")],
)
def test_a_time_is_formatted_in_words(seconds, said):
    assert spell_time(seconds) == said
