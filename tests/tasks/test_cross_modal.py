"""Tasks whose targets are another modality: the stage of an infarction, the report's words, measurements."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from data_prep.store.manifest import LOST_VOLTAGE
from ecgmtl.config.stage import Stage
from ecgmtl.model.forest.measurements import in_rows, measure
from ecgmtl.tasks import LossInput, build_task
from ecgmtl.tasks.measurements import UNTRAINED, robust_statistics
from ecgmtl.training.errors import TrainingError
from ecgmtl.training.validation import validate
from tests.trainings import split, training

STAGES = ["", "Stadium I", "Stadium II-III", "Stadium III", "unknown", "Stadium I", "a name"]
SECOND = ["", "", "", "Stadium III", "", "Stadium III", ""]


def with_columns(n=7, **columns):
    return replace(split(n), columns={name: np.array(values, dtype=object) for name, values in columns.items()})


def test_infarction_stages_become_four_classes():
    records = with_columns(infarction_stadium1=STAGES, infarction_stadium2=SECOND)
    encoded, _ = build_task("infarction_stadium").encode(records, records)
    one = np.eye(4)
    np.testing.assert_array_equal(encoded[[0, 1, 2, 3]], one)
    np.testing.assert_array_equal(encoded[5], (one[1] + one[3]) / 2)  # an acute and an old one
    assert encoded[[4, 6]].isnan().all()


def test_empty_cells_mean_no_infarction_only_where_the_table_states_stages():
    empty, stated = with_columns(infarction_stadium1=[""] * 7), with_columns(infarction_stadium1=STAGES)
    for train, validation in ((empty, stated), (with_columns(), stated)):
        assert all(part.isnan().all() for part in build_task("infarction_stadium").encode(train, validation))
    assert build_task("infarction_stadium").encode(stated, empty)[1][:, 0].eq(1).all()


def test_the_words_are_the_most_frequent_ones_of_the_training_patients():
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{letter}{other}" for letter in "abcdefghijkl" for other in "abcdefghijkl"])
    reports = [set(vocabulary[rng.random(144) < np.linspace(0.1, 0.9, 144)]) for _ in range(60)]
    cells = ["", *(";".join(sorted(words)) for words in reports)]
    patients = np.array([0, *rng.integers(0, 20, 60)])
    train = replace(with_columns(61, report_words=cells), patients=patients)
    validation = with_columns(3, report_words=["wordll;unheard", "unheard", ""])
    first, second = build_task("report").encode(train, validation)

    counts = Counter(
        word
        for patient in range(20)
        for word in set().union(*(words for words, of in zip(reports, patients[1:], strict=True) if of == patient))
    )
    kept = sorted(counts, key=lambda word: (-counts[word], word))[:100]
    expected = [[float(word in words) for word in kept] for words in reports]
    np.testing.assert_array_equal(first[1:], expected)
    np.testing.assert_array_equal(second[0], [float(word == "wordll") for word in kept])
    assert not second[1].any()
    assert first[0].isnan().all()
    assert second[2].isnan().all()


def test_a_report_of_few_words_is_scored_on_those_alone():
    train = with_columns(4, report_words=["block;sinus", "sinus", "", "block"])
    task = build_task("report")
    target, _ = task.encode(train, train)
    assert target[:, 2:].isnan().all()
    output = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    batch = train.batch(torch.arange(4))._replace(targets={"report": target})
    inputs = LossInput(None, {"report": output}, batch, 1.0)
    scored = [0, 1, 3]
    expected = F.binary_cross_entropy(output[scored, :2].sigmoid(), torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(task.loss(inputs), expected)
    assert task.count(inputs) == 6
    figures = task.figures({"loss": 0.5}, tuple(part.numpy() for part in task.answers(inputs)))
    auroc = roc_auc_score(target[scored, :2], output[scored, :2])
    assert figures == {"loss.report": 0.5, "report_macro_auroc": pytest.approx(auroc)}


def test_measured_targets_are_standardized_by_the_training_split():
    train, validation = split(48), split(16, 1)
    first, second = build_task("measurements").encode(train, validation)

    def measured(records):
        return in_rows(measure(records.signals.float() / 1000, None, 100.0)).double().numpy()

    reference = measured(train)
    median, spread = np.median(reference, axis=0), np.subtract(*np.quantile(reference, [0.75, 0.25], axis=0)) / 1.349
    varied = spread > 0
    for rows, records in ((first, train), (second, validation)):
        expected = ((measured(records) - median)[:, varied] / spread[varied]).clip(-5, 5)
        np.testing.assert_allclose(rows.numpy()[:, varied], expected, atol=1e-5)
    assert varied.mean() > 0.9
    assert first.nan_to_num().abs().max() <= 5


def test_what_cannot_be_measured_is_missing():
    train = split(24)
    train.signals[0] = 0
    train.signals[1, 4] = 0  # aVL alone
    columns = {LOST_VOLTAGE: np.array(["", "", "record", *[""] * 21], dtype=object)}
    first, _ = build_task("measurements").encode(replace(train, columns=columns), train)
    names = [
        name for name, values in measure(torch.zeros(1, 12, 200), None, 100.0).items() for _ in range(values.shape[1])
    ]
    leads = {name: [i for i, other in enumerate(names) if other == name] for name in ("r", "rms", "cornell", "rr_mean")}
    rest = [index for index, name in enumerate(names) if name != "rms"]
    assert first[0, rest].isnan().all()
    assert first[1, leads["r"]].isnan().tolist() == [lead == 4 for lead in range(12)]
    assert first[1, leads["cornell"]].isnan().all()  # it needs R of aVL
    assert first[1, leads["rr_mean"]].isfinite().all()
    assert first[2].isnan().all()
    assert first[3:].isfinite().float().mean() > 0.9


def test_the_robust_scale_falls_back_to_the_standard_deviation():
    columns = np.array([[0.0, 0, 0, 0, 8], [1, 1, 1, 1, 1], [1, 2, 3, 4, np.nan], [np.nan] * 5]).T
    center, scale = robust_statistics(columns)
    np.testing.assert_allclose(center, [0, 1, 2.5, np.nan])
    np.testing.assert_allclose(scale, [3.2, np.nan, 1.5 / 1.349, np.nan])


def test_the_untrained_loss_is_the_mean_of_normal_targets():
    normal = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    assert F.smooth_l1_loss(torch.zeros_like(normal), normal).item() == pytest.approx(UNTRAINED, abs=1e-3)


@pytest.mark.parametrize(
    ("task", "figure", "rises"),
    [
        ("infarction_stadium", "infarction_stadium_accuracy", True),
        ("report", "report_macro_auroc", True),
        ("measurements", "measurements_mae_sd", False),
    ],
)
def test_a_cross_modal_task_is_learned(task, figure, rises):
    stage = Stage(name="s", trains=("encoder", task), losses=(task,), epochs=8, batch_size=16)
    run = training(stage)
    before = validate(run.model, stage, run.validation)
    for run.epoch in range(8):
        run.run_epoch()
    after = validate(run.model, stage, run.validation)
    assert after[f"loss.{task}"] < before[f"loss.{task}"]
    assert (after[figure] > before[figure]) == rises


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("infarction_stadium", "no training record has a value in the column 'infarction_stadium1' of the prepared"),
        ("report", "no training record has a value in the column 'report_words' of the prepared folder; prepare it"),
        ("measurements", "no training record has a value to measure: none has a heartbeat and its voltage scale"),
    ],
)
def test_a_split_without_targets_is_refused(task, message):
    stage = Stage(name="s", trains=("encoder", task), losses=(task,), epochs=1, batch_size=16)
    run = training(stage)
    columns = {LOST_VOLTAGE: np.full(64, "record", dtype=object)}
    with pytest.raises(TrainingError, match=message):
        type(run)(run.model, stage, run.config, replace(split(), columns=columns), run.validation)
