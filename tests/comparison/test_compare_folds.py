"""A comparison over folds, from end to end: three arms, each trained without one fold and evaluated on it."""

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from data_prep.preprocess import Preprocess
from data_prep.store.open import open_store
from ecgmtl.cli import app
from ecgmtl.comparison.arms import load_arms
from ecgmtl.comparison.compare import compare
from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.plan import Plan
from ecgmtl.comparison.results import read_result, result_path
from ecgmtl.comparison.run import open_once
from ecgmtl.comparison.truth import ComparisonError, read_truth
from ecgmtl.config.run import load_config
from ecgmtl.data.split import load_split, open_for
from ecgmtl.metrics.ranking import macro_auroc
from tests.comparisons import arms_beside_data

ARMS = {
    "_base": """
encoder: {kind: cnn, widths: [8, 8, 8]}
decoder: {width: 8}
precision: fp32
stages:
  - {name: main, trains: [encoder, classifier], losses: [classification], batch_size: 16, epochs: 2, keep: last}
""",
    "single": "about: Alone.",
    "joint": "about: Both.\nset: {stages.0.trains: [encoder, decoder, classifier], "
    "stages.0.losses: [reconstruction, classification], stages.0.masking: {share: 0.5}}",
}
FOLDS = (3, 9)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Working folder with arms and prepared data."""
    with arms_beside_data(tmp_path_factory.mktemp("folds"), ARMS) as place:
        yield place


def run(place, out, messages, folds=FOLDS, seeds=1, overrides=()):
    arms = load_arms(place / "arms", overrides=overrides)
    return compare(Plan(arms, place / "store", out, seeds, track=False, folds=folds), messages.append)


@pytest.fixture(scope="module")
def done(place):
    messages = []
    assert not run(place, place / "done", messages).failed
    order = [line.split()[1:4] for line in messages]
    assert order == [[arm, "fold", str(fold)] for fold in FOLDS for arm in ("joint", "single")]
    return place / "done"


def test_each_run_is_evaluated_on_its_fold_and_trained_on_the_others(place, done):
    store = open_store(place / "store")
    for fold in FOLDS:
        result = read_result(result_path(done, "joint", 0, fold))
        config = load_config(done / f"runs/results-joint.fold{fold}.0/config.yaml")
        assert (config.validation_fold, result.fold) == (fold, fold)
        records = store.records[store.records["split"] != "test"]
        assert result.curve[-1].samples_seen == 2 * 16 * ((records["fold"] != fold).sum() // 16)
        evaluated = load_split(open_for(place / "store", Preprocess(), fold), "validation", "superdiagnostic")
        truth = read_truth(done).of_fold(fold)
        assert truth.names == evaluated.names
        assert (truth.labels == (evaluated.labels.numpy() > 0)).all()
        assert result.scores.shape == truth.labels.shape
        assert macro_auroc(result.scores, truth.labels) == pytest.approx(result.macro_auroc, abs=1e-6)
        assert result.macro_auroc == pytest.approx(result.curve[-1].macro_auroc, abs=1e-6)


def test_the_truth_has_all_records_outside_the_test_split(place, done):
    records = open_store(place / "store").records
    records = records[records["split"] != "test"]
    truth = read_truth(done)
    assert truth.names == tuple(records["name"])
    assert (truth.folds == records["fold"]).all()
    same = truth.patients[:, None] == truth.patients
    assert (same == (records["patient_id"].to_numpy()[:, None] == records["patient_id"].to_numpy())).all()


def test_folds_have_seeds_of_their_own_that_arms_share(done):
    seeds = {
        (arm, fold): load_config(done / f"runs/results-{arm}.fold{fold}.0/config.yaml").seed
        for arm in ("single", "joint")
        for fold in FOLDS
    }
    assert {seeds["single", fold] == seeds["joint", fold] for fold in FOLDS} == {True}
    assert seeds["single", 3] != seeds["single", 9]


@pytest.mark.slow
def test_folds_and_seeds_are_added_to_finished_ones(place, done):
    messages = []
    run(place, done, messages, folds=(3, 7), seeds=2)
    assert messages[0] == "2 of 8 runs are already finished"
    comparison = read_comparison(done)
    assert set(comparison.arms["single"]) == {(3, 0), (3, 1), (7, 0), (7, 1), (9, 0)}
    assert comparison.folds == (3, 7, 9)


def test_cells_are_averaged_within_their_fold(done):
    comparison = read_comparison(done)
    cells = [(3, 0), (9, 0), (3, 1)]
    assert comparison.by_unit(cells, np.array([1.0, 5.0, 2.0])).tolist() == [1.5, 5.0]


@pytest.mark.parametrize(
    ("folds", "overrides", "message"),
    [
        ((), (), "holds a comparison on records or labels other than"),
        ((3,), ("validation_fold=9",), "with --folds every run is validated on its own fold"),
        ((11,), (), "validation_fold 11: .* has no such fold"),
        ((10,), (), "validation_fold 10: .* has no such fold"),  # the test split
    ],
)
def test_folds_that_cannot_be_evaluated_are_refused(place, done, tmp_path, folds, overrides, message):
    with pytest.raises(Exception, match=message):
        run(place, done if not folds else tmp_path / "x", [], folds, overrides=overrides)
    assert not (tmp_path / "x").exists()


def test_a_result_without_its_fold_is_refused(place, done, tmp_path):
    result = read_result(result_path(done, "single", 0, 3))
    odd = result_path(done, "odd", 0)
    odd.write_text(result.model_copy(update={"fold": None, "arm": "odd"}).model_dump_json(exclude={"probabilities"}))
    with pytest.raises(ComparisonError, match=r"odd.0.json: evaluated on no fold, but truth.npz has folds"):
        read_comparison(done)
    odd.unlink()


@pytest.mark.parametrize("folds", ["9-1", "1-", "a", "1,,2", ""])
def test_a_wrong_list_of_folds_is_refused_with_an_example(place, tmp_path, folds):
    answer = CliRunner().invoke(app, ["compare", "arms", "--data", "store", "--out", str(tmp_path), "--folds", folds])
    assert answer.exit_code == 2
    assert "3,6,9" in answer.output


def test_a_filtered_folder_is_read_once_and_gives_the_same_signals(place):
    preprocess = Preprocess(band=(0.5, 40.0))
    store = open_once(place / "store", preprocess)
    rows = np.array([5, 3])
    assert (store.read(rows) == open_for(place / "store", preprocess).read(rows)).all()
    assert store.manifest["preprocess"]["band"] == [0.5, 40.0]
    assert open_once(place / "store", preprocess) is store


def test_a_comparison_without_tracking_needs_no_mlflow(place, done, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert not run(place, tmp_path / "x", [], folds=(3,)).failed
