import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.readers import ReadOptions
from data_prep.synthetic import write_record
from data_prep.waveform import synthesise
from ecgmtl import checkpoint, export
from ecgmtl.calibration import Calibration
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config import Config
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.export import ExportError
from ecgmtl.inference import Failure, Prediction, predict
from ecgmtl.predictions_file import PredictionsFileError, open_predictions, row_of
from ecgmtl.predictor import PredictorError, load_predictor
from tests.promises import every_encoder

LABELS = ("CD", "HYP", "MI", "NORM", "STTC")


def make(encoder):
    config = Config(encoder=encoder)
    torch.manual_seed(0)
    model = config.build_model(5).eval()
    calibration = Calibration(slope=(1.2,) * 5, intercept=(0.1,) * 5, thresholds=(0.4,) * 5)
    return Checkpoint(model, config, "superdiagnostic", LABELS, calibration, (), {"stage": "decay"})


@pytest.fixture(scope="module")
def stored():
    return make(CnnSettings(widths=(8, 16)))


@pytest.fixture(scope="module")
def model(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(path, stored)
    return path


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for i in range(6):
        write_record(folder / f"r{i}", synthesise(["NORM", "SR"], 100, 10.0, np.random.default_rng(i)), 100)
    return folder


@pytest.fixture(scope="module")
def signals():
    return 0.2 * torch.randn(9, 12, 1000, generator=torch.Generator().manual_seed(1))


def run(model, *paths, batch_size=4):
    return list(predict(load_predictor(str(model)), paths, ReadOptions(), batch_size))


def test_a_bad_file_is_named_and_the_rest_goes_on(model, records, tmp_path):
    (tmp_path / "bad.hea").write_text("bad 12 100 1000\n")
    good = sorted(records.glob("*.hea"))
    mixed = run(model, *good[:3], tmp_path / "bad.hea", *good[3:])
    assert [type(result) for result in mixed] == [Prediction] * 3 + [Failure] + [Prediction] * 3
    assert mixed[3].path.name == "bad.hea"
    for found, alone in zip([r for r in mixed if isinstance(r, Prediction)], run(model, *good), strict=True):
        assert found.path == alone.path
        assert list(found.calibrated.values()) == pytest.approx(list(alone.calibrated.values()), abs=1e-6)


def test_a_record_does_not_depend_on_its_batch(model, records):
    one, many = (run(model, records, batch_size=size) for size in (1, 6))
    for a, b in zip(one, many, strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-6)
        assert a.reconstruction_rmse == pytest.approx(b.reconstruction_rmse, abs=1e-6)


def test_probabilities_are_calibrated_and_decided(model, records):
    found = run(model, records)[0]
    logit = np.log(found.probabilities["MI"] / (1 - found.probabilities["MI"]))
    assert found.calibrated["MI"] == pytest.approx(1 / (1 + np.exp(-(1.2 * logit + 0.1))), abs=1e-6)
    assert found.decisions == {name: p >= 0.4 for name, p in found.calibrated.items()}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_holds_what_was_predicted(model, records, tmp_path, suffix):
    results = [*run(model, records), Failure(records / "x.hea", "why")]
    path = tmp_path / f"p{suffix}"
    with open_predictions(path, LABELS) as write:
        write([row_of(result) for result in results])
    reads = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda p: pd.read_json(p, lines=True)}
    table = reads[suffix](path)
    assert table["status"].tolist() == ["ok"] * 6 + ["failed"]
    np.testing.assert_allclose(table["calibrated_MI"][:6], [r.calibrated["MI"] for r in results[:6]], rtol=1e-12)
    assert table["calibrated_MI"].isna()[6]
    assert "nan" not in (path.read_text().lower() if suffix != ".parquet" else "")


def test_a_table_cut_short_is_not_left_behind(tmp_path):
    with pytest.raises(RuntimeError), open_predictions(tmp_path / "p.csv", LABELS):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "said"), [("p.txt", "should end in .csv, .parquet, .jsonl"), ("f/p.csv", "written")])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name, said):
    (tmp_path / "f").touch()
    with pytest.raises(PredictionsFileError, match=said), open_predictions(tmp_path / name, LABELS):
        pass


@pytest.mark.parametrize("kind", ["onnx", "pt2", pytest.param("mlflow", marks=pytest.mark.slow)])
def test_an_export_predicts_the_same_without_a_decoder(stored, model, records, signals, tmp_path, kind):
    path = tmp_path / ("c" if kind == "mlflow" else f"c.{kind}")
    report = export.export(stored, kind, path, signals)
    assert report.max_difference <= 1e-5
    content = b"".join(p.read_bytes() for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())
    assert b"decoder" not in content.replace(b'"decoder"', b"")  # the settings may name it; the weights must not
    for a, b in zip(run(model, records), run(path, records), strict=True):
        assert list(a.calibrated.values()) == pytest.approx(list(b.calibrated.values()), abs=1e-5)
        assert a.decisions == b.decisions
        assert b.reconstruction_rmse is None


@every_encoder
def test_every_encoder_exports_to_onnx(settings, signals, tmp_path):
    report = export.export(make(settings()), "onnx", tmp_path / "c.onnx", signals)
    assert report.max_difference <= 1e-5


def test_onnx_is_predicted_without_torch(stored, records, signals, tmp_path):
    export.export(stored, "onnx", tmp_path / "c.onnx", signals)
    code = (
        "import sys; from data_prep.readers import ReadOptions; from ecgmtl.inference import predict; "
        "from ecgmtl.predictor import load_predictor; "
        f"found = list(predict(load_predictor({str(tmp_path / 'c.onnx')!r}), [{str(records)!r}], ReadOptions())); "
        "assert len(found) == 6; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_export_that_differs_is_not_kept(stored, signals, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="it was not kept"):
        export.export(stored, "pt2", tmp_path / "c.pt2", signals)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "name", "said"), [("onx", "c.onx", "onnx, pt2, mlflow"), ("onnx", "c.pt2", ".onnx")])
def test_an_export_that_makes_no_sense_is_refused(stored, signals, tmp_path, kind, name, said):
    with pytest.raises(ExportError, match=said):
        export.export(stored, kind, tmp_path / name, signals)


@pytest.mark.parametrize("name", ["none.safetensors", "a.txt", "bad.onnx", "bad.pt2"])
def test_what_is_no_model_is_refused_by_name(tmp_path, name):
    if name != "none.safetensors":
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(ValueError, match=name) as caught:
        load_predictor(str(tmp_path / name))
    assert isinstance(caught.value, PredictorError) or type(caught.value).__name__ == "CardError"
