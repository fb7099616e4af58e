"""The classifier that ecgmtl brings: whether it fits the code, and whether its card is true."""

import ast
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ecgmtl
from data_prep.readers import read_record
from data_prep.record import Record
from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from ecgmtl.config.run import load_config
from ecgmtl.config.shipped import FOLDER
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.metrics.ranking import macro_auroc

PAGE = Path(__file__).parents[2] / "docs" / "bundled-model.md"


@pytest.fixture(scope="module")
def model():
    return ecgmtl.load()


def test_the_model_still_fits_the_code(model):
    """Values of the day when the model was made; if the preprocessing changes, it has to be trained again."""
    ecgs = [synthesize([label, "SR"], 500, 10.0, np.random.default_rng(7)) for label in ("NORM", "IMI")]
    records = [Record(f"{i}", (ecg / 1000).astype(np.float32), 500.0, LEADS) for i, ecg in enumerate(ecgs)]
    table = model.predict(records)
    found = table[[f"calibrated_{name}" for name in model.label_names]].to_numpy(float)
    assert found == pytest.approx(np.array(EXPECTED), abs=2e-4)


EXPECTED = [[0.04139, 0.02736, 0.02166, 0.8514, 0.01792], [0.08006, 0.01472, 0.97859, 0.01122, 0.06205]]


def test_the_model_has_the_preprocessing_of_the_recipe(model):
    recipe = load_config(FOLDER / "ptbxl.yaml").preprocess
    assert asdict(model.predictor.metadata.preprocess) == asdict(recipe)


def test_the_file_is_small_enough_for_a_package():
    assert BUNDLED_FILE.stat().st_size < 5e6


def test_the_file_names_no_line_of_code_on_the_machine_that_wrote_it():
    assert b'File "' not in BUNDLED_FILE.read_bytes()


def test_the_card_names_license_use_and_limits(model):
    for part in ("CC BY 4.0", "Wagner et al. 2020", "## Intended use", "## Limits", "Not a medical device"):
        assert part in model.card


@pytest.fixture(scope="module")
def fold_nine(shared_data):
    """The table of the records on which the thresholds and the bound of typicality were chosen."""
    return pd.read_csv(shared_data / "ptbxl-larger" / "ptbxl_database.csv").query("strat_fold == 9")


@pytest.fixture(scope="module")
def predictions(model, fold_nine, shared_data):
    return model.predict([shared_data / "ptbxl-larger" / name for name in fold_nine["filename_lr"]])


@pytest.mark.real
@pytest.mark.slow
def test_records_unlike_the_training_records_are_told(model, fold_nine, predictions, shared_data):
    """Fold 9 is what the bound was chosen on, so its fraction is at most 1 %."""
    assert (predictions["unlike_training"] > 1).mean() <= 0.01
    typicality, preprocess = model.predictor.metadata.typicality, model.predictor.metadata.preprocess
    files = [shared_data / "ptbxl-larger" / f"{name}.hea" for name in fold_nine["filename_lr"][::8]]
    signals = np.stack([preprocess(read_record(file)).signal for file in files])
    order = np.random.default_rng(0).permutation(12)
    for altered in (signals / 5, signals[:, order], -signals):
        assert (typicality.scores(altered).values > 1).mean() > 0.9


@pytest.mark.real
@pytest.mark.slow
def test_the_card_tells_the_score_that_the_model_has(model, fold_nine, predictions, shared_data):
    classes = pd.read_csv(shared_data / "ptbxl-larger" / "scp_statements.csv", index_col=0)
    classes = classes.query("diagnostic == 1")["diagnostic_class"]
    found_classes = [{classes.get(code) for code in ast.literal_eval(codes)} for codes in fold_nine["scp_codes"]]
    truth = np.array([[name in found for name in model.label_names] for found in found_classes])
    probabilities = predictions[[f"p_{name}" for name in model.label_names]].to_numpy(float)
    score = macro_auroc(probabilities, truth)
    told = re.search(r"macro AUROC (\d\.\d+) \(.*, 479 records", model.predictor.metadata.score)
    assert len(predictions) == 479
    assert told is not None
    assert score == pytest.approx(float(told[1]), abs=6e-5)
    assert f"| macro AUROC | {told[1]} |" in PAGE.read_text()
