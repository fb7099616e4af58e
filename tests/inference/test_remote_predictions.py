"""Predictions for the objects of a bucket, by the command line."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import ecgmtl
from ecgmtl import checkpoint
from ecgmtl.cli import app
from ecgmtl.inference import parts
from tests.folders import ecg, write_record
from tests.places import s3_server, web_server

ROOT = Path(__file__).parents[2]


@pytest.fixture
def s3(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(5):
        write_record(tmp_path / f"ecgs/r{number}", ecg(rng))
    with s3_server(monkeypatch) as files:
        files.put(f"{tmp_path}/ecgs/", "bucket/ecgs/", recursive=True)
        yield files


def predict(folder, *arguments):
    """Predict in this process, which has loaded all that it needs, two files a part."""
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FILES_A_PART", 2)
        words = ["predict", *arguments, "--batch", "2", "--workers", "1"]
        done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_the_rows_of_a_bucket_are_those_of_the_folder_and_a_missing_object_is_one_failed_row(s3, tmp_path):
    s3.rm("bucket/ecgs/r3.dat")
    (tmp_path / "ecgs/r3.dat").unlink()
    code, said = predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/", "--part", "1/2")
    assert (code, "2 of 3 parts are finished" in said) == (0, True), said
    code, said = predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/")
    assert (code, "3 of 3 parts are finished" in said) == (3, True), said
    assert predict(tmp_path, "ecgs", "--out", "local.parquet")[0] == 3
    remote, local = pd.read_parquet(tmp_path / "p"), pd.read_parquet(tmp_path / "local.parquet")
    assert remote["path"].tolist() == [f"s3://bucket/ecgs/r{number}.hea" for number in range(5)]
    assert remote["status"].tolist() == ["ok", "ok", "ok", "failed", "ok"]
    assert remote["message"][3].startswith(
        "r3.hea: the file that it names for the samples of signals 1 to 12 is not there"
    )
    pd.testing.assert_frame_equal(remote.drop(columns="path"), local.drop(columns="path"), check_exact=True)


def test_only_the_part_of_an_object_that_changed_is_predicted_again(s3, tmp_path):
    assert predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/")[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "p").glob("*.parquet")}
    content = s3.cat_file("bucket/ecgs/r4.dat")
    s3.pipe_file("bucket/ecgs/r4.dat", bytes(len(content)))
    code, said = predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/")
    assert (code, "4 records predicted before and kept" in said) == (3, True), said
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "p").glob("*.parquet")}
    assert [name for name in sorted(after) if after[name] != before[name]] == ["part-000002.parquet"]


@pytest.mark.slow
def test_a_bucket_that_cannot_be_reached_stops_and_keeps_the_parts(s3, tmp_path, monkeypatch):
    assert predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/", "--part", "1/3")[0] == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of each of s3fs's attempts
    type(s3).clear_instance_cache()
    code, said = predict(tmp_path, "s3://bucket/ecgs/", "--out", "p/")
    assert code == 1
    assert "s3://bucket/ecgs/: cannot be reached (EndpointConnectionError)" in said
    assert len(list((tmp_path / "p").glob("*.parquet"))) == 1


def test_a_local_prediction_imports_nothing_for_remote_places(tmp_path):
    write_record(tmp_path / "a", ecg(np.random.default_rng(0)))
    script = (
        "import sys; from ecgmtl.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print({'fsspec', 'aiohttp', 's3fs', 'botocore'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script, "predict", "a.hea"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_reconstruct_and_python_read_addresses_too(stored, tmp_path):
    write_record(tmp_path / "r", ecg(np.random.default_rng(0)))
    model = tmp_path / "model.safetensors"
    checkpoint.save(model, stored)
    with web_server(tmp_path) as address:
        remote = f"{address}/r.hea"
        done = CliRunner().invoke(
            app, ["reconstruct", str(model), remote, "--from", "I,II,V2", "--out", f"{tmp_path}/f"]
        )
        assert done.exit_code == 0, done.output
        assert np.array_equal(ecgmtl.read(remote).signal, ecgmtl.read(tmp_path / "r.hea").signal)
        assert list(ecgmtl.load(model).predict(remote)["status"]) == ["ok"]
    assert ecgmtl.read(tmp_path / "f").leads[6:8] == ("V1 reconstructed", "V2")
