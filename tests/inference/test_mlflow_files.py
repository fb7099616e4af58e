"""The MLflow model that takes ECG files or arrays."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.readers import read_record
from ecgmtl.inference.mlflow_files import FilesModel
from ecgmtl.inference.predictor import load_predictor
from tests.models import LABELS, predictions

CALIBRATED = [f"calibrated_{name}" for name in LABELS]


def expected(model, records):
    return [list(result.calibrated.values()) for result in predictions(model, records)]


def test_files_and_arrays_are_predicted_row_by_row_and_a_bad_file_fails_alone(exported, records):
    path = exported["onnx"].path
    files = sorted(map(str, records.glob("*.hea")))
    array = read_record(Path(files[1])).signal.T.tolist()
    table = FilesModel(load_predictor(str(path))).predict(pd.DataFrame({"ecg": [files[0], "gone.xml", array]}))
    assert table["status"].tolist() == ["ok", "failed", "ok"]
    assert table["findings"][1] == "unreadable"
    found = table[CALIBRATED].iloc[[0, 2]].to_numpy(float)
    np.testing.assert_allclose(found, expected(path, records)[:2], atol=1e-5)
    assert json.loads(json.dumps(table.to_dict("records"), allow_nan=False))[1]["p_MI"] is None


def test_an_array_of_another_shape_is_refused(exported):
    model = FilesModel(load_predictor(str(exported["onnx"].path)))
    with pytest.raises(ValueError, match=r"row 0: an ECG is a path, or an array of 12 leads; found the shape \(3, 9\)"):
        model.predict(pd.DataFrame({"ecg": [np.zeros((3, 9)).tolist()]}))


@pytest.mark.slow
def test_mlflow_loads_it_and_its_signature_and_example_work(mlflow_files, records):
    import mlflow

    model = mlflow.pyfunc.load_model(str(mlflow_files.path))
    assert model.metadata.signature.inputs.input_names() == ["ecg"]
    assert {"path", "status", *CALIBRATED, "findings"} <= set(model.metadata.signature.outputs.input_names())
    assert model.predict(model.input_example)["status"].tolist() == ["ok"]
    files = sorted(map(str, records.glob("*.hea")))
    table = model.predict(pd.DataFrame({"ecg": files}))
    np.testing.assert_allclose(table[CALIBRATED].to_numpy(float), expected(mlflow_files.path, records), atol=1e-5)
    assert mlflow_files.max_difference <= 1e-5
