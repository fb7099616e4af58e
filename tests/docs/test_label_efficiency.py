"""By which epoch arms are compared where few records have labels."""

from docs.make.label_efficiency import chosen_by_others, last, learning_curve
from ecgmtl.comparison.results import Point
from tests.comparisons import make_run, make_truth

TRUTH = make_truth()


def run(seed, *epochs):
    """Of a macro AUROC and a loss of the labels an epoch."""
    counts = {"step": 1, "samples_seen": 1, "encoder_passes": 1.0, "seconds": 1.0, "loss": None}
    curve = tuple(Point(**counts, macro_auroc=score, train_loss=loss) for score, loss in epochs)
    return make_run("single", seed, TRUTH).model_copy(update={"curve": curve})


def test_the_epochs_of_an_arm_begin_with_its_labels():
    assert learning_curve(run(0, (None, None), (0.7, 0.5), (0.8, 0.4))).tolist() == [0.7, 0.8]


def test_of_an_arm_with_a_student_its_epochs_alone_count():
    teachers = ((None, None), (0.7, 0.5), (0.9, 0.4))
    assert learning_curve(run(0, *teachers, (0.6, None), (0.8, None))).tolist() == [0.6, 0.8]


def test_an_epoch_is_chosen_by_the_seeds_that_are_not_evaluated_by_it():
    runs = [run(0, (0.9, 1.0), (0.5, 1.0)), run(1, (0.6, 1.0), (0.8, 1.0)), run(2, (0.7, 1.0), (0.6, 1.0))]
    # the others' means are 0.65 and 0.7, 0.8 and 0.55, 0.75 and 0.65
    assert chosen_by_others(runs).tolist() == [0.5, 0.6, 0.7]
    assert last(runs).tolist() == [0.5, 0.8, 0.6]
