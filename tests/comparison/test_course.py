"""Courses of single runs: their curves, with and without pretraining."""

import numpy as np
import pytest

from ecgmtl.comparison.course import course, pretraining
from ecgmtl.comparison.results import Point
from tests.comparisons import N_POINTS, STEPS, make_run


def test_a_course_has_the_whole_run_and_is_undefined_before_the_main_task_is_learned():
    run = make_run("pretrain", 0)
    found = course(run)
    np.testing.assert_array_equal(found.times, 32 * STEPS * np.arange(1, N_POINTS + 1))
    np.testing.assert_array_equal(np.isnan(found.scores), np.arange(N_POINTS) < 5)
    assert found.scores[5] == run.curve[5].macro_auroc
    assert found.losses[-1] == run.curve[-1].loss
    assert found.train_losses[-1] == run.curve[-1].train_loss


def test_without_pretraining_a_course_begins_where_that_ends():
    run = make_run("pretrain", 0)
    found = course(run, "seconds", amortized=True)
    assert pretraining(run) == 5
    assert found.times[0] == pytest.approx(run.curve[5].seconds - run.curve[4].seconds)
    np.testing.assert_array_equal(found.scores, course(run).scores[5:])


def test_a_run_without_pretraining_is_the_same_without_it():
    run = make_run("single", 0)
    assert pretraining(run) == 0
    np.testing.assert_array_equal(course(run, amortized=True), course(run))


def test_a_run_that_never_learns_the_main_task_has_no_pretraining():
    point = Point(step=1, samples_seen=1, encoder_passes=1.0, seconds=1.0, macro_auroc=None, loss=None, train_loss=None)
    assert pretraining(make_run("single", 0).model_copy(update={"curve": (point, point)})) == 0
