import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_prep.lock import FolderInUseError
from data_prep.readers import ReadOptions, find_records
from data_prep.share import Share
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.parts import PredictionJob, predict_in_parts
from ecgmtl.inference.shares import FileList, shared_folder
from ecgmtl.inference.table import PredictionsFileError
from ecgmtl.inference.write import SILENT, write_share
from tests.folders import ecg, write_record
from tests.models import job_of

ROOT = Path(__file__).parents[2]
N_PARTS = 5


def run(out, folder, share="1/1", **changes):
    """Write a share of the folder `out`, and return the numbers of the parts that were kept and predicted."""
    job = job_of(out, keeps_parts=True, **changes)
    file_list = FileList.of(job, find_records([folder]), Share.parse(share))
    assert file_list.n_parts == N_PARTS
    with shared_folder(job, file_list, Share.parse(share)):
        done = list(predict_in_parts(job, file_list.pieces))
    return [part.number for part in done if part.kept], [part.number for part in done if not part.kept]


def test_three_shares_have_the_rows_of_one_run_and_one_table(eighteen, tmp_path, small_parts):
    assert run(tmp_path / "shares", eighteen, "2/3") == ([], [1, 4])
    assert run(tmp_path / "shares", eighteen, "3/3") == ([], [2])
    assert run(tmp_path / "shares", eighteen, "1/3") == ([], [0, 3])
    run(tmp_path / "whole", eighteen)
    rows = pd.read_parquet(tmp_path / "shares")
    assert rows["path"].map(lambda path: Path(path).name).tolist() == [f"r{number:02d}.hea" for number in range(18)]
    assert rows["status"].tolist() == ["failed" if number == 5 else "ok" for number in range(18)]
    pd.testing.assert_frame_equal(rows, pd.read_parquet(tmp_path / "whole"), check_exact=True)
    assert pq.read_table(tmp_path / "shares").num_rows == 18


def test_only_missing_parts_are_predicted_whatever_the_share_is(eighteen, tmp_path, small_parts):
    run(tmp_path / "p", eighteen, "1/2")
    (tmp_path / "p/part-000002.parquet").unlink()
    assert run(tmp_path / "p", eighteen, "1/1") == ([0, 4], [1, 2, 3])
    assert run(tmp_path / "p", eighteen, "4/4") == ([3], [])
    assert run(tmp_path / "p", eighteen, "9/9") == ([], [])


def test_a_part_is_predicted_again_if_a_file_has_changed(eighteen, tmp_path, small_parts):
    folder = tmp_path / "records"
    shutil.copytree(eighteen, folder)
    run(tmp_path / "p", folder)
    os.utime(folder / "r13.dat", (0, 0))
    assert run(tmp_path / "p", folder) == ([0, 1, 2, 4], [3])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest": "0" * 64}, "the model"),
        ({"options": PredictOptions(ReadOptions(fs=100), 4, strict=True)}, "--fs, --strict"),
    ],
)
def test_another_model_or_option_is_refused_and_changes_nothing(eighteen, tmp_path, small_parts, change, said):
    run(tmp_path / "p", eighteen, "1/2")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "p").glob("*.*")}
    with pytest.raises(
        PredictionsFileError, match=re.escape(f"begun with a different value of {said}; choose a new folder")
    ):
        run(tmp_path / "p", eighteen, "2/2", **change)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "p").glob("*.*")} == before


def test_another_list_of_files_is_refused(eighteen, tmp_path, small_parts):
    folder = tmp_path / "records"
    shutil.copytree(eighteen, folder)
    run(tmp_path / "p", folder, "1/2")
    write_record(folder / "another", ecg(np.random.default_rng(1)))
    with pytest.raises(PredictionsFileError, match="a different value of the list of files"):
        run(tmp_path / "p", folder, "2/2")


def test_a_folder_of_other_files_is_refused(eighteen, tmp_path, small_parts):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/notes.txt").touch()
    with pytest.raises(PredictionsFileError, match="holds files other than predictions; choose a new folder"):
        run(tmp_path / "p", eighteen)


def test_a_folder_of_input_is_refused_rather_than_left_out_of_the_input(eighteen, tmp_path, small_parts):
    folder = tmp_path / "records"
    shutil.copytree(eighteen, folder)
    before = sorted(folder.iterdir())
    with pytest.raises(PredictionsFileError, match="records: holds files other than predictions; choose a new folder"):
        write_share(job_of(folder, keeps_parts=True), Share(), [str(folder)], predict_in_parts, SILENT)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ("part-000000.parquet", "1 of the 5 parts that this command wrote can no longer be found. .* Run the same"),
        ("*", "2 of the 5 parts .* Remove what is left of it, and run the same command again"),
        ("_settings.json", "_settings.json can no longer be found. .* Remove what is left of it"),
    ],
)
def test_a_folder_that_is_removed_meanwhile_is_an_error(eighteen, tmp_path, small_parts, removed, said):
    out = tmp_path / "p"

    def lose_files(job, pieces):
        for receipt in predict_in_parts(job, pieces):
            for path in out.glob(removed) if receipt.number == 1 else ():
                path.unlink()
            yield receipt

    with pytest.raises(PredictionsFileError, match=said):
        write_share(job_of(out, keeps_parts=True), Share(), [str(eighteen)], lose_files, SILENT)


def test_two_processes_write_different_shares_at_once_but_not_the_same(eighteen, tmp_path, small_parts):
    job = PredictionJob(str(BUNDLED_FILE), "", tmp_path / "p", PredictOptions(batch_size=4), keeps_parts=True)
    file_list = FileList.of(job, [Path("a.hea")], Share(1, 2))
    with (
        shared_folder(job, file_list, Share(1, 2)),
        shared_folder(job, file_list, Share(2, 2)),
        pytest.raises(FolderInUseError),
        shared_folder(job, file_list, Share(2, 2)),
    ):
        pass


def test_partial_files_of_killed_processes_are_removed_but_not_those_of_running_ones(eighteen, tmp_path, small_parts):
    run(tmp_path / "p", eighteen, "1/2")
    running, left = tmp_path / "p/.part-000001.parquet.1.partial", tmp_path / "p/.part-000003.parquet.2.partial"
    running.touch()
    left.touch()
    os.utime(left, (time.time() - 7200,) * 2)
    run(tmp_path / "p", eighteen, "1/2")
    assert running.exists()
    assert not left.exists()


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "a/b", "-1/3", "1/2/3", "1.0/3", "²/3"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="must be I/N"):
        Share.parse(text)


def test_every_part_falls_to_one_share():
    shares = [Share(index, 7) for index in range(1, 8)]
    assert all(sum(number in share for share in shares) == 1 for number in range(100))


SCRIPT = """
import sys
from ecgmtl.cli import main
from ecgmtl.inference import parts
parts.FILES_A_PART = 2
main()
"""


def start(folder, eighteen, *arguments):
    command = [sys.executable, "-c", SCRIPT, "predict", str(eighteen), "--batch", "2", "--workers", "1", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    said = process.communicate()[1]
    return process.returncode, said


def test_two_jobs_of_which_one_is_killed_and_a_third_that_completes_the_folder(eighteen, tmp_path, small_parts):
    jobs = [start(tmp_path, eighteen, "--out", "p/", "--part", f"{index}/2") for index in (1, 2)]
    while not list((tmp_path / "p").glob("_part-*")):
        time.sleep(0.01)
    jobs[0].send_signal(signal.SIGKILL)
    finish(jobs[0])
    assert finish(jobs[1])[0] in (0, 3)
    code, said = finish(start(tmp_path, eighteen, "--out", "p/"))
    assert code == 3  # one file is cut off
    assert "r05" in said
    assert "9 of 9 parts are finished" in said
    assert "predicted before and kept" in said
    run(tmp_path / "whole", eighteen)
    found, wanted = (pd.read_parquet(tmp_path / name)[["path", "status"]] for name in ("p", "whole"))
    pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "p.csv", "--part", "1/2"), "--part writes a folder"),
        (("--part", "1/2"), "--part writes a folder"),
        (("--out", "s3://bucket/p/"), "--out: remote addresses can only be read"),
        (("--out", "p/", "--part", "3/2"), "'3/2' is not a share"),
        (("--out", "p/", "--report", "r.html"), "--report is written with one table"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(arguments, said):
    import typer

    from ecgmtl.cli.predict import parse_share

    named = dict(zip(arguments[::2], arguments[1::2], strict=True))
    report = named.get("--report")
    with pytest.raises(typer.BadParameter, match=re.escape(said)):
        parse_share(named.get("--out"), named.get("--part"), report and Path(report))


def test_a_share_without_parts_is_no_failure(eighteen, tmp_path):
    code, said = finish(start(tmp_path, eighteen, "--out", "p/", "--part", "30/30"))
    assert code == 0, said
    assert "0 of 9 parts are finished" in said
