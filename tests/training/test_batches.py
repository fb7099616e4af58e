import numpy as np
import pytest
import torch

from ecgmtl.data.augment import AugmentSettings
from ecgmtl.training.batches import Batches
from tests.trainings import JOINT, split

STAGE = JOINT.model_copy(update={"augment": JOINT.augment.model_copy(update={"mixup": 0.0, "noise": 0.0})})
PRETEXT = STAGE.model_copy(update={"name": "pretext", "losses": ("reconstruction", "contrastive")})
DISTIL = STAGE.model_copy(update={"name": "distil", "losses": ("distillation",), "teachers": ("one",)})


def batches(stage=STAGE, epoch=0, train=None, seed=(0, 0)):
    return list(Batches(train or split(), stage, seed).of_epoch(epoch))


def test_an_epoch_has_whole_batches_of_records_that_do_not_repeat():
    train = split(n=70)
    index = torch.cat(Batches(train, STAGE, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index) == 64  # four batches of 16; six records are left to the next epoch
    assert len(index.unique()) == 64


def test_a_stage_on_labels_repeats_the_labeled_records_for_the_same_number_of_steps():
    train = split(n=64)
    train.labeled[10:] = False
    index = torch.cat(Batches(train, STAGE, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index) == 64
    assert set(index.tolist()) == set(range(10))
    counts = torch.bincount(index)
    assert counts.max() - counts.min() <= 1


def test_the_records_of_a_batch_are_named_after_it_was_sampled():
    train = split(n=64)
    plain = Batches(train, STAGE.model_copy(update={"augment": AugmentSettings()}), (3, 1))
    for number, batch in enumerate(plain.of_epoch(2)):
        rows = [train.names.index(name) for name in plain.names_of(2, number)]
        assert torch.equal(batch.labels, train.labels[rows])
        assert torch.allclose(batch.signals, train.signals[rows].float() / 1000)


@pytest.mark.parametrize("stage", [PRETEXT, DISTIL], ids=lambda stage: stage.name)
def test_a_stage_without_labels_uses_all_records(stage):
    train = split(n=64)
    train.labeled[10:] = False
    index = torch.cat(Batches(train, stage, (0, 0)).order(torch.Generator().manual_seed(0)))
    assert len(index.unique()) == 64


def test_batches_depend_only_on_seed_stage_and_epoch():
    first, again = batches(epoch=3), batches(epoch=3)
    assert all(
        torch.equal(a.signals, b.signals) and torch.equal(a.mask, b.mask) for a, b in zip(first, again, strict=True)
    )
    for other in (batches(epoch=4), batches(epoch=3, seed=(1, 0)), batches(epoch=3, seed=(0, 1))):
        assert not torch.equal(first[0].signals, other[0].signals)


def test_stages_with_other_tasks_have_the_same_records_and_crops():
    """Arms of a comparison with the same seed are paired: they have the same order, crops and mixup."""
    alone = JOINT.model_copy(update={"losses": ("classification",), "trains": ("encoder", "classifier")})
    noisy = JOINT.model_copy(update={"augment": JOINT.augment.model_copy(update={"noise": 0.2, "wander": 0.1})})
    for ours, alone_too, noisy_too in zip(batches(JOINT), batches(alone), batches(noisy), strict=True):
        assert torch.equal(ours.signals, alone_too.signals)
        assert torch.equal(ours.labels, alone_too.labels)
        assert torch.equal(ours.signals, noisy_too.signals)


def test_two_views_of_a_record_are_adjacent_and_are_different_crops():
    train = split(n=64)
    batch = batches(PRETEXT, train=train)[0]
    assert len(batch.signals) == 2 * PRETEXT.batch_size
    assert torch.equal(batch.labels[0::2], batch.labels[1::2])
    assert not torch.equal(batch.signals[0::2], batch.signals[1::2])
    # a view is a crop of the record, so its values are among those of the record
    records = train.signals.float().flatten(1) / 1000
    views = batch.signals[:2].flatten(1)
    owner = [int(np.argmax([np.isin(view, record).mean() for record in records.numpy()])) for view in views.numpy()]
    assert owner[0] == owner[1]


@pytest.mark.parametrize("losses", [("classification",), ("contrastive",)])
def test_tasks_that_do_not_need_masks_get_none(losses):
    assert batches(PRETEXT.model_copy(update={"losses": losses}))[0].mask is None
