"""Preparation of folders in a bucket and on a web server."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data_prep.places import PlaceError, parse_place
from data_prep.preprocess import Preprocess
from data_prep.readers import ReadOptions
from data_prep.share import Share
from data_prep.sources.tables import SourceError
from data_prep.store import plan, prepare
from ecgmtl.cli import app
from tests.folders import LEADS, ecg, write_ptbxl, write_record
from tests.places import Quiet, free_port, s3_server, web_server
from tests.vendor_files import FILES

ROOT = Path(__file__).parents[3]
CODES = [{"NORM": 100.0}, {"IMI": 100.0}, {"SR": 0.0}, {"NDT": 0.0}, {"NORM": 100.0}]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder like PTB-XL's and one with a labels.csv, each with a record that cannot be read."""
    sources, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    write_ptbxl(sources / "ptbxl", CODES, rng)
    (sources / "ptbxl/records100/00000/00003_lr.dat").unlink()
    mine = sources / "mine"
    write_record(mine / "a", ecg(rng))
    write_record(mine / "b/ü é", ecg(rng))
    np.savez(mine / "d.npz", signal=ecg(rng).astype(np.float32), fs=100, leads=LEADS)
    header = ",".join(f"{lead} (mV)" for lead in LEADS)
    np.savetxt(mine / "e.txt", ecg(rng), "%.4f", ",", header=header, comments="")
    (mine / "f.weird").write_bytes(FILES["muse.xml"](ecg(rng, 5000, 500)))
    pd.DataFrame({"record": ["a", "b/ü é", "d", "e", "f", "missing", "c/none"], "AF": [0, 1, 0, 1, 0, 1, 0]}).to_csv(
        mine / "labels.csv", index=False
    )
    return sources


@pytest.fixture
def web(sources):
    with web_server(sources) as url:
        yield url


@pytest.fixture
def s3(sources, monkeypatch):
    with s3_server(monkeypatch) as files:
        files.put(f"{sources}/", "bucket/ecgs/", recursive=True)
        yield files


def run(source, out, **options):
    return prepare.prepare(parse_place(str(source)), out, Preprocess(), options=ReadOptions(fs=100.0), **options)


def content(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".lock")}


def compare(sources, root, folder):
    """Prepare both sources here and there, and compare their folders."""
    for name in ("ptbxl", "mine"):
        here, there = run(sources / name, folder / name), run(f"{root}{name}/", folder / f"{name}-remote")
        assert (there.failures, there.n_records) == (here.failures, here.n_records)
        assert here.n_records == (4 if name == "ptbxl" else 5)
        assert content(folder / f"{name}-remote") == content(folder / name)


def test_a_bucket_is_prepared_as_its_local_copy_to_the_byte(sources, s3, tmp_path):
    compare(sources, "s3://bucket/ecgs/", tmp_path)


def test_a_web_server_is_prepared_as_its_local_copy_to_the_byte(sources, web, tmp_path):
    compare(sources, web, tmp_path)


def test_the_slash_at_the_end_of_a_folder_may_be_missing(sources, web, tmp_path):
    run(f"{web}ptbxl", tmp_path / "remote")
    run(sources / "ptbxl", tmp_path / "local")
    assert content(tmp_path / "remote") == content(tmp_path / "local")


def test_jobs_prepare_the_shares_of_a_web_server(sources, web, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "RECORDS_A_CHUNK", 2)
    assert run(f"{web}ptbxl/", tmp_path / "remote", share=Share(1, 2)).n_chunks == 3
    run(sources / "ptbxl", tmp_path / "remote", share=Share(2, 2))  # the same records, wherever they are
    run(sources / "ptbxl", tmp_path / "local")
    assert content(tmp_path / "remote") == content(tmp_path / "local")


def test_an_object_that_is_missing_or_refused_is_one_record_that_is_left_out(sources, tmp_path):
    class Refusing(Quiet):
        def do_GET(self):  # noqa: N802, the name that the server calls
            if self.path.endswith("00002_lr.dat"):
                self.send_error(403)
            else:
                super().do_GET()

    with web_server(sources, Refusing) as url:
        failures = dict(run(f"{url}ptbxl/", tmp_path / "store").failures)
    assert list(failures) == ["records100/00000/00002_lr", "records100/00000/00003_lr"]
    assert failures["records100/00000/00002_lr"] == "00002_lr.dat: the server answered 403."
    assert "00003_lr.hea: the file that it names for the samples" in failures["records100/00000/00003_lr"]


def test_a_server_that_goes_away_ends_the_preparation_which_then_continues(sources, web, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "RECORDS_A_CHUNK", 2)
    monkeypatch.setattr("data_prep.attempts.PAUSE", 0.0)
    local = tmp_path / "copy/ptbxl"
    shutil.copytree(sources / "ptbxl", local)
    gone = []

    class Leaving(Quiet):
        def do_GET(self):  # noqa: N802, the name that the server calls
            if gone and "records100" in self.path:
                self.send_error(503)
            else:
                super().do_GET()

    with web_server(local.parent, Leaving) as url:
        with pytest.raises(PlaceError, match=r"ptbxl/records100/00000/00003_lr\.hea: cannot be reached"):
            run(f"{url}ptbxl/", tmp_path / "store", progress=lambda done, total: gone.append(done))
        gone.clear()
        assert run(f"{url}ptbxl/", tmp_path / "store").n_resumed == 2
    run(sources / "ptbxl", tmp_path / "local")
    assert content(tmp_path / "store") == content(tmp_path / "local")


def test_a_place_without_tables_or_records_is_refused_by_its_address(web, tmp_path, monkeypatch):
    with pytest.raises(SourceError, match=r"nothing/: neither ptbxl_database.csv \(PTB-XL\) nor labels.csv"):
        run(f"{web}nothing/", tmp_path / "store")
    monkeypatch.setattr("data_prep.attempts.PAUSE", 0.0)
    with pytest.raises(PlaceError, match="cannot be reached"):
        run(f"http://127.0.0.1:{free_port()}/ptbxl/", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_server_that_lists_nothing_gives_records_whose_names_have_suffixes(sources, tmp_path):
    class Silent(Quiet):
        def list_directory(self, path):
            self.send_error(403)

    folder = tmp_path / "mine"
    shutil.copytree(sources / "mine", folder)
    (folder / "labels.csv").write_text("record,AF\na.hea,0\nd.npz,1\n")
    with web_server(tmp_path, Silent) as url:
        assert run(f"{url}mine/", tmp_path / "store").failures == ()
        (folder / "labels.csv").write_text("record,AF\na,0\nd,1\n")
        with pytest.raises(SourceError, match=r"mine/: its files cannot be listed. mine: the server answered 403"):
            run(f"{url}mine/", tmp_path / "other")


def test_a_table_that_is_too_large_is_refused_and_not_cut_off(web, monkeypatch, tmp_path):
    monkeypatch.setattr("data_prep.remote.MOST_BYTES", 40)
    with pytest.raises(SourceError, match=r"mine/: its tables cannot be read. labels.csv holds more than 40 bytes"):
        run(f"{web}mine/", tmp_path / "store")


def test_a_bucket_to_which_access_is_denied_is_a_sentence(s3, monkeypatch, tmp_path):
    def refuse(*_):
        raise PermissionError("Access Denied")

    monkeypatch.setattr("data_prep.remote._get", refuse)
    with pytest.raises(SourceError, match=r"ptbxl/: its tables cannot be read. ptbxl_database.csv: access is denied"):
        run("s3://bucket/ecgs/ptbxl/", tmp_path / "store")


def ecgmtl(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


def test_remote_folders_are_prepared_but_neither_written_nor_checked_by_the_command_line(web, tmp_path):
    code, said = ecgmtl("data", "prepare", f"{web}ptbxl/", tmp_path / "store")
    assert (code, f"4 records in {tmp_path}/store, 1 left out".replace(" ", "") in said.replace(" ", "")) == (3, True)
    code, said = ecgmtl("data", "prepare", f"{web}ptbxl/", "s3://bucket/store")
    assert (code, "remote addresses can only be read" in said) == (2, True)
    code, said = ecgmtl("data", "check", f"{web}ptbxl/")
    assert (code, "only local folders are checked" in said) == (2, True)
    code, said = ecgmtl("data", "prepare", "ftp://host/ptbxl/", tmp_path / "other")
    assert (code, "should be a local path, or begin with s3://" in said) == (1, True)


@pytest.mark.slow
def test_ray_prepares_a_part_of_a_web_server(sources, web, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'ecgmtl[ray]'")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "HOME": str(tmp_path / "home")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_agent_register_timeout_ms": "120000", "OMP_NUM_THREADS": "1"}
    words = ("--engine", "ray", "--part", "1/1")
    command = [sys.executable, "-m", "ecgmtl", "data", "prepare", f"{web}ptbxl/", "ray", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    prepare.prepare(sources / "ptbxl", tmp_path / "local", Preprocess())
    assert content(tmp_path / "ray") == content(tmp_path / "local")
