"""What every task promises, over the very list of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecgmtl.config.run import Config
from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import DecoderSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.tasks import MAIN, PREFIX, TASKS, LossInput, build_task, losses_of
from ecgmtl.tasks.age import Age
from ecgmtl.tasks.heart_axis import HeartAxis
from ecgmtl.tasks.sex import Sex
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.validation import validate
from tests.trainings import split, training

NAMES = (*TASKS, f"{PREFIX}second")
COLUMNS = {
    "age": {"age": [40.0, np.nan, 300.0, 40.0]},
    "sex": {"sex": [0.0, 1.0, np.nan, 0.0]},
    "heart_axis": {"heart_axis": ["LAD", "", "RAD", "LAD"]},
    "infarction_stadium": {"infarction_stadium1": ["Stadium I", "unknown", "", "Stadium I"]},
    "report": {"report_words": [";".join(f"word{number}" for number in range(100)), "", "word1", "word2"]},
}
"""Columns of four records, of which each task lacks at least one."""
LOWER = MultiLevelSettings(levels={"mid_classification": 1})
OPTIONAL = ("mid_classification", "latent", "contrastive", "measurements", *COLUMNS)
"""Tasks that have a head only where a stage learns them."""
BESIDE = {"consistency": ("reconstruction",), "agreement": ("classification",)}
"""Tasks without which another cannot be learned."""
every_task = pytest.mark.parametrize("name", NAMES)


def stage_of(name):
    """The smallest stage that learns a task."""
    losses = (*BESIDE.get(name, ()), name)
    teachers = ("one",) if name == "distillation" else ()
    views = {"classification": "clean"} if name == "agreement" else {}
    parts = tuple(dict.fromkeys(build_task(each).part for each in losses))
    return Stage(
        name="s", trains=("encoder", *parts), losses=losses, epochs=1, batch_size=16, teachers=teachers, views=views
    )


@pytest.fixture(scope="module")
def inputs():
    """What every task can score: outputs of all heads, and a batch with everything that any of them needs."""
    torch.manual_seed(0)
    heads = tuple(build_task(name).reads for name in NAMES)
    stages = tuple(stage_of(name).model_copy(update={"name": name}) for name in OPTIONAL)
    config = Config(
        encoder=CnnSettings(widths=(8, 8)),
        decoder=DecoderSettings(leads=12),
        stages=stages,
        auxiliary_labels=("second",),
        sharing=LOWER,
    )
    model = config.build_model(2, {"second": 3})
    signals = torch.randn(4, 12, 80)
    outputs = model(signals, None, heads)
    columns = {column: np.array(values, dtype=object) for pair in COLUMNS.values() for column, values in pair.items()}
    records = replace(split(4), columns=columns)
    pairs = {name: build_task(name).encode(records, records) for name in NAMES}
    batch = Batch(
        signals,
        torch.rand(4, 2).round(),
        {"second": torch.rand(4, 3).round()},
        {name: pair[0] for name, pair in pairs.items() if pair is not None},
        scored=torch.ones(4, 8, 80),
        teacher_features=torch.randn(4, 8, outputs["latent"].shape[-1]),
        soft_labels=torch.rand(4, 2),
    )
    return LossInput(model, outputs, batch, 1.0, model(0.5 * signals, None, heads))


@every_task
def test_a_loss_is_one_finite_number_with_a_gradient(name, inputs):
    loss = build_task(name).loss(inputs)
    head = inputs.outputs[build_task(name).reads]
    (gradient,) = torch.autograd.grad(loss, head.mean if hasattr(head, "log_var") else head, retain_graph=True)
    assert loss.shape == ()
    assert loss.isfinite()
    assert gradient.abs().sum() > 0


@every_task
def test_an_inactive_task_has_a_loss_of_zero(name, inputs):
    (loss,) = losses_of([build_task(name)], [False], lambda _: [inputs], torch.device("cpu"))
    assert loss.item() == 0
    assert not loss.requires_grad


@every_task
def test_a_stage_can_learn_each_task_by_itself(name):
    stage = stage_of(name)
    assert stage.selected_by in stage.losses
    assert stage.facts.tasks[-1].name == name
    Config(
        stages=(stage,),
        auxiliary_labels=("second",),
        decoder=DecoderSettings(leads=12),
        sharing=LOWER if name == "mid_classification" else HardSettings(),
    )


@every_task
def test_an_untrained_loss_is_a_number_above_zero(name):
    known = {MAIN: torch.tensor([0.1, 0.5]), f"{PREFIX}second": torch.tensor([0.2])}
    assert 0 < build_task(name, prevalence=known).untrained(16) < 10


@pytest.mark.parametrize("name", COLUMNS)
def test_records_without_a_value_do_not_change_the_loss(name, inputs):
    task, target = build_task(name), inputs.batch.targets[name]
    present = torch.isfinite(target).all(dim=1)
    assert 0 < present.sum() < len(target)
    part = inputs.batch._replace(targets={name: target[present]}, labels=inputs.batch.labels[present])
    alone = task.loss(inputs._replace(outputs={name: inputs.outputs[name][present]}, batch=part))
    torch.testing.assert_close(task.loss(inputs), alone)
    nobody = inputs._replace(batch=inputs.batch._replace(targets={name: torch.full_like(target, torch.nan)}))
    assert task.loss(nobody).item() == 0
    assert task.count(inputs) == task.present(target).sum() > 0


def test_targets_are_encoded_as_ptb_xl_writes_them():
    ages = Age().targets(np.array([60.0, 77.0, 300.0, np.nan]))[:, 0]
    np.testing.assert_allclose(ages, [0.0, 1.0, np.nan, np.nan])  # (77 - 60) / 17; 300 stands for any age over 89
    np.testing.assert_array_equal(Sex().targets(np.array([0, 1, np.nan, 2.0]))[:, 0], [0, 1, np.nan, np.nan])
    axes = HeartAxis().targets(np.array(["ALAD", "MID", "AXR", "SAG", "", np.nan], dtype=object))
    np.testing.assert_array_equal(axes[:3], np.eye(3))
    assert np.isnan(axes[3:]).all()


def test_tasks_on_columns_are_learned_and_validated_beside_the_labels():
    stage = Stage(
        name="s",
        trains=("encoder", "classifier", *COLUMNS),
        losses=("classification", *COLUMNS),
        epochs=6,
        batch_size=16,
        masking=MaskingSettings(share=0),
    )
    run = training(stage)
    before = validate(run.model, stage, run.validation)
    reports = [run.run_epoch() for run.epoch in range(6)]
    after = validate(run.model, stage, run.validation)
    assert {f"loss.{name}" for name in COLUMNS} <= set(reports[0].steps)
    assert after["age_mae_years"] < before["age_mae_years"]
    assert 0 <= after["sex_accuracy"] <= 1
    assert 0 <= after["heart_axis_accuracy"] <= 1


def test_a_task_without_any_target_is_refused_before_its_first_step():
    stage = Stage(name="s", trains=("encoder", "age"), losses=("age",), epochs=1, batch_size=16)
    train = split()
    train.columns.pop("age")
    run = training(stage)
    with pytest.raises(TrainingError, match="learns age, but no training record has a value in the column 'age'"):
        type(run)(run.model, stage, run.config, train, run.validation)
