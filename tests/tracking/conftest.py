"""Fixtures that the tests of tracking share."""

import shutil
from pathlib import Path

import pytest

from ecgmtl.tracking.store import import_mlflow


@pytest.fixture
def store(migrated, tmp_path, monkeypatch):
    """A client of an empty store in the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated, "mlflow.db")
    return import_mlflow().MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture
def model():
    """The folder of a model that MLflow takes."""
    Path("model").mkdir()
    Path("model/MLmodel").write_text("flavors: {}\n")
    return Path("model")
