import numpy as np
import pytest
import torch

from ecgmtl.training.batches import Batches
from tests.trainings import JOINT, split

STAGE = JOINT.model_copy(update={"augment": JOINT.augment.model_copy(update={"mixup": 0.0, "noise": 0.0})})
PRETEXT = STAGE.model_copy(update={"name": "pretext", "losses": ("reconstruction", "contrastive")})
DISTIL = STAGE.model_copy(update={"name": "distil", "losses": ("distillation",), "teachers": ("one",)})


def draw(stage=STAGE, epoch=0, train=None, seed=(0, 0)):
    return list(Batches(train or split(), stage, seed).of_epoch(epoch))


def test_an_epoch_has_whole_batches_of_records_that_do_not_repeat():
    train = split(n=70)
    index = torch.cat(Batches(train, STAGE, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index) == 64  # four batches of 16; six records wait for the next epoch
    assert len(index.unique()) == 64


def test_a_stage_that_learns_labels_sees_labeled_records_alone_as_often_as_there_are_steps():
    train = split(n=64)
    train.labeled[10:] = False
    index = torch.cat(Batches(train, STAGE, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index) == 64
    assert set(index.tolist()) == set(range(10))
    counts = torch.bincount(index)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("stage", [PRETEXT, DISTIL], ids=lambda stage: stage.name)
def test_without_labels_all_records_are_learned_from(stage):
    train = split(n=64)
    train.labeled[10:] = False
    index = torch.cat(Batches(train, stage, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index.unique()) == 64


def test_batches_depend_on_seed_and_epoch_alone():
    first, again = draw(epoch=3), draw(epoch=3)
    assert all(
        torch.equal(a.signals, b.signals) and torch.equal(a.mask, b.mask) for a, b in zip(first, again, strict=True)
    )
    for other in (draw(epoch=4), draw(epoch=3, seed=(1, 0)), draw(epoch=3, seed=(0, 1))):
        assert not torch.equal(first[0].signals, other[0].signals)


def test_stages_that_differ_in_their_tasks_see_the_same_records_at_the_same_places():
    """What pairs two arms of a comparison: the same seed, the same order, crops and blends."""
    alone = JOINT.model_copy(update={"losses": ("classification",), "trains": ("encoder", "classifier")})
    noisy = JOINT.model_copy(update={"augment": JOINT.augment.model_copy(update={"noise": 0.2, "wander": 0.1})})
    for ours, alone_too, noisy_too in zip(draw(JOINT), draw(alone), draw(noisy), strict=True):
        assert torch.equal(ours.signals, alone_too.signals)
        assert torch.equal(ours.labels, alone_too.labels)
        assert torch.equal(ours.signals, noisy_too.signals)


def test_two_views_of_a_record_lie_side_by_side_and_are_cut_at_different_places():
    train = split(n=64)
    batch = draw(PRETEXT, train=train)[0]
    assert len(batch.signals) == 2 * PRETEXT.batch_size
    assert torch.equal(batch.labels[0::2], batch.labels[1::2])
    assert not torch.equal(batch.signals[0::2], batch.signals[1::2])
    # a view is the record from another place on: its values are among the record's own
    records = train.signals.float().flatten(1) / 1000
    views = batch.signals[:2].flatten(1)
    owner = [int(np.argmax([np.isin(view, record).mean() for record in records.numpy()])) for view in views.numpy()]
    assert owner[0] == owner[1]


@pytest.mark.parametrize("losses", [("classification",), ("contrastive",)])
def test_nothing_is_hidden_from_tasks_that_do_not_need_it(losses):
    assert draw(PRETEXT.model_copy(update={"losses": losses}))[0].mask is None
