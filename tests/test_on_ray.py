"""Preparation and predictions by a Ray cluster of two workers on this machine."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from typer.testing import CliRunner

from data_prep import Preprocess
from data_prep.extras import MissingExtraError
from data_prep.on_ray import in_order_on_ray
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl.cli import app
from ecgmtl.inference import parts
from tests.folders import write_cut_folder

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from ecgmtl.cli import main
from ecgmtl.inference import parts
parts.FILES_A_PART = 4
main()
"""
RAY = ("--engine", "ray", "--workers", "2")
PREDICT = ("predict", "ecgs", "--batch", "4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    write_cut_folder(folder / "ecgs", 40)
    return folder


def start(folder, *arguments):
    """Begin a command. Ray writes into the home folder, which is therefore one of the test's own."""
    command = [sys.executable, "-c", SCRIPT, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    environment |= {
        "HOME": str(folder / "home"),
        "RAY_AUTH_MODE": "disabled",
        "RAY_agent_register_timeout_ms": "120000",
    }
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    said = process.communicate()[1]
    return process.returncode, said


def predict_here(folder, out):
    """Predict with one worker in this process, which has loaded all that it needs, and return the exit code."""
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FILES_A_PART", 4)
        return CliRunner().invoke(app, [*PREDICT, "--out", out, "--workers", "1"]).exit_code


def kill_one_at_work(process):
    """Kill a worker of the cluster while it predicts a part."""
    while process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if child.cmdline()[0].startswith("ray::run_in"):
                    child.kill()
                    return
            except (psutil.Error, IndexError):
                continue
        time.sleep(0.2)  # the start of a cluster takes seconds of all cores
    pytest.fail(f"no worker was at work: {process.communicate()[1]}")


@pytest.mark.slow
def test_a_killed_worker_of_a_ray_cluster_loses_and_doubles_no_row(folder):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ecgmtl[ray]'")
    process = start(folder, *PREDICT, "--out", "p/", *RAY)
    kill_one_at_work(process)
    code, said = finish(process)
    assert (code, "10 of 10 parts are finished" in said) == (3, True), said
    assert predict_here(folder, "l/") == 3
    here, there = pd.read_parquet(folder / "l"), pd.read_parquet(folder / "p")
    assert there["path"].tolist() == [f"ecgs/r{number:02d}.hea" for number in range(40)]
    pd.testing.assert_frame_equal(there, here, check_exact=True)


@pytest.mark.slow
def test_ray_prepares_the_same_store_as_local_workers(folder):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ecgmtl[ray]'")
    write_ptbxl(folder / "ptbxl", 70, seed=0)  # two chunks
    assert finish(start(folder, "data", "prepare", "ptbxl", "ray", *RAY))[0] == 0
    prepare(folder / "ptbxl", folder / "local", Preprocess())
    for name in ("signals.npy", "records.csv"):
        assert (folder / "ray" / name).read_bytes() == (folder / "local" / name).read_bytes()


def test_without_ray_the_message_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--engine ray: .*pip install 'ecgmtl\[ray\]'"):
        next(in_order_on_ray(max, [(1, 2)], 2))
