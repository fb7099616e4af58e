"""Small untrained models to store, export and predict with, and records to predict for: fixtures for all tests."""

import pickle
import sys

import numpy as np
import pytest
import torch
from filelock import FileLock

from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from data_prep.wfdb_writer import write_record
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config.run import Config
from ecgmtl.export.write import export
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.parts import PredictionJob, load_once
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.model.encoders.cnn import CnnSettings

LABELS = ("CD", "HYP", "MI", "NORM", "STTC")
SMALL = CnnSettings(widths=(8, 16))
SCORE, CARD = "macro AUROC 0.9", "# Ü card\n\nIntended use: none."


def untrained(encoder=SMALL):
    """A checkpoint with random weights, a calibration that changes probabilities, and other thresholds than 0.5."""
    config = Config(encoder=encoder)
    torch.manual_seed(0)
    model = config.build_model(5).eval()
    calibration = Calibration(slope=(1.2,) * 5, intercept=(0.1,) * 5, thresholds=(0.4,) * 5)
    return Checkpoint(model, config, "superdiagnostic", LABELS, calibration, {}, {"stage": "decay"})


def predictions(model, *paths, batch_size=4):
    """What a model's file says of ECG files."""
    return list(predict(load_predictor(str(model)), paths, PredictOptions(batch_size=batch_size)))


@pytest.fixture(scope="session")
def stored():
    return untrained()


@pytest.fixture(scope="session")
def signals():
    return 0.2 * torch.randn(9, 12, 1000, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """A folder with six ECGs."""
    folder = tmp_path_factory.mktemp("records")
    for i in range(6):
        write_record(folder / f"r{i}", synthesize(["NORM", "SR"], 100, 10.0, np.random.default_rng(i)), 100, LEADS)
    return folder


@pytest.fixture(scope="session")
def exported(stored, signals, shared_folder):
    """Reports on the classifier in each of the files."""
    folder = shared_folder / "exported"
    reports = folder / "reports.pickle"
    with FileLock(f"{folder}.lock"):
        if not reports.exists():
            with pytest.MonkeyPatch.context() as patch:
                for package in ("ray", "h5py"):  # packages of other extras are not needed
                    patch.setitem(sys.modules, package, None)
                made = {
                    kind: export(stored, kind, folder / f"c.{kind}", signals, SCORE, CARD) for kind in ("onnx", "pt2")
                }
            reports.write_bytes(pickle.dumps(made))
    return pickle.loads(reports.read_bytes())


@pytest.fixture(scope="session")
def mlflow_folder(stored, signals, tmp_path_factory):
    """A report on the classifier as an MLflow model."""
    return export(stored, "mlflow", tmp_path_factory.mktemp("exported") / "c", signals, SCORE, CARD)


@pytest.fixture(scope="session")
def mlflow_files(stored, signals, tmp_path_factory):
    """A report on the classifier as an MLflow model that takes files."""
    return export(stored, "mlflow-files", tmp_path_factory.mktemp("exported") / "f", signals)


def job_of(out, **changes):
    """A job that predicts with the bundled model, four records at a time."""
    model, options = str(BUNDLED_FILE), PredictOptions(batch_size=4)
    digest = load_once(model, options, 1)[1]
    return PredictionJob(**{"model": model, "digest": digest, "options": options, "n_threads": 1, "out": out} | changes)
