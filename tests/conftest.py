"""Checks every shape and type annotation of both packages while the tests run; seeds each test; finds the real data."""

import gc
import os
import shutil
import signal

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from tests import annotations

matplotlib.use("Agg")
# files and databases are flushed many thousand times, which takes milliseconds on a disk and none in memory
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 8e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# each of the default's frequent collections visits all that torch and mlflow hold: a seventh of the suite's time
gc.set_threshold(50_000)
# a shell starts background jobs deaf to Ctrl-C, and their children inherit that: the tests of interruption would hang
signal.signal(signal.SIGINT, signal.default_int_handler)
annotations.install()

pytest_plugins = ["tests.models"]
SHARED = Path(__file__).parent.parent.parent / "shared/data"


def pytest_addoption(parser):
    parser.addoption(
        "--write-golden", action="store_true", help="write the golden figures anew, then compare with them"
    )
    parser.addoption("--fuzz", type=int, default=40, help="how many damaged files of each kind tests/fuzz makes")


def pytest_collection_modifyitems(items):
    """Skip slow tests where the real ECGs are not, and begin with the files that have slow tests.

    A process that takes the longest files last works alone at the end.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    files = {item.path for item in slow}
    items.sort(key=lambda item: item.path not in files)
    if not SHARED.is_dir():
        for item in slow:
            item.add_marker(pytest.mark.skip(reason=f"slow tests run where real ECGs are, and none are at {SHARED}"))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def few_prepared(tmp_path_factory):
    """A few prepared ECGs: 22 to train on, 2 to validate on. They have no heart axis, so one is filled in."""
    from data_prep import Preprocess  # after the hook above
    from data_prep.store.open import open_store
    from data_prep.store.prepare import prepare
    from data_prep.synthetic.folder import write_ptbxl

    place = tmp_path_factory.mktemp("few")
    write_ptbxl(place / "records", 28, seed=0)
    path = place / "records/ptbxl_database.csv"
    table = pd.read_csv(path)
    table.assign(heart_axis=[("LAD", "MID", "RAD")[row % 3] for row in table.index]).to_csv(path, index=False)
    prepare(place / "records", place / "store", Preprocess(), "superdiagnostic", workers=1)
    return open_store(place / "store")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder for what takes seconds to make, in which one process makes it for all processes of the session."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def migrated(shared_folder):
    """An empty store as MLflow makes it, to be copied."""
    from ecgmtl.tracking.store import import_mlflow  # takes seconds, and few tests need it

    mlflow = import_mlflow()
    path = shared_folder / "mlflow.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            new = path.with_name("new.db")
            mlflow.MlflowClient(f"sqlite:///{new}").search_experiments()
            shutil.copy(new, path)
    return path


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real ECGs; the test is skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"no real ECGs at {SHARED}")
    return SHARED


@pytest.fixture(scope="module")
def browser():
    """Chromium; the test is skipped where Playwright or the browser is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
