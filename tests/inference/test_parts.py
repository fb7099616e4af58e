import errno
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.readers import ReadOptions, find_files, find_records
from ecgmtl.inference import parts
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.parts import (
    finish,
    load_once,
    partial_folder,
    partial_table,
    pieces_of,
    predict_in_parts,
)
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import PredictorError
from ecgmtl.inference.table import PredictionsFileError, open_predictions, row_of
from tests.folders import ecg, write_record
from tests.killed_worker import kill_itself
from tests.models import job_of

ROOT = Path(__file__).parents[2]


def run(job, folder, workers=1, n_parts=None):
    """Write a table, or only the first parts of it as an interrupted run does."""
    with partial_table(job) as differences:
        done = []
        for part in predict_in_parts(job, pieces_of(job, find_records([folder])), workers):
            done.append(part)
            if len(done) == n_parts:
                return differences, done
        finish(job, len(done))
    return differences, done


def whole(out, folder):
    """Write the same table in one go."""
    predictor = load_once(str(BUNDLED_FILE), PredictOptions(), 1)[0]
    with open_predictions(out, predictor.metadata.label_names) as write:
        write([row_of(result) for result in predict(predictor, folder, PredictOptions(batch_size=4))])
    return read(out)


@pytest.fixture(scope="module")
def expected(eighteen, tmp_path_factory):
    """The table as CSV, written in one go."""
    return whole(tmp_path_factory.mktemp("whole") / "whole.csv", eighteen)


def read(path):
    return pd.read_parquet(path) if path.suffix == ".parquet" else path.read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_interrupted_table_is_continued_and_equals_one_written_in_one_go(eighteen, tmp_path, small_parts, suffix):
    out = tmp_path / f"p{suffix}"
    run(job_of(out), eighteen, n_parts=2)
    assert not out.exists()
    differences, done = run(job_of(out), eighteen)
    assert differences == ()
    assert [part.kept for part in done] == [True, True, False, False, False]
    assert (sum(part.ok for part in done), sum(part.failed for part in done)) == (17, 1)
    expected = whole(tmp_path / f"whole{suffix}", eighteen)
    assert expected.equals(read(out)) if suffix == ".parquet" else expected == read(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"p{suffix}", f"whole{suffix}"])


def test_what_a_killed_process_left_beside_the_table_is_removed(eighteen, tmp_path, small_parts):
    (tmp_path / ".p.csv.12.partial").write_text("half")
    (tmp_path / ".other.csv.12.partial").write_text("of another table")
    run(job_of(tmp_path / "p.csv"), eighteen)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.csv.12.partial", "p.csv"]


def test_workers_write_the_same_rows_in_the_same_order(eighteen, expected, tmp_path, small_parts, monkeypatch):
    monkeypatch.setattr("data_prep.parallel.SECONDS_WORTH_WORKERS", 0.0)
    _, done = run(job_of(tmp_path / "p.csv"), eighteen, workers=2)
    assert [part.number for part in done] == [0, 1, 2, 3, 4]
    assert read(tmp_path / "p.csv") == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"read": ReadOptions(fs=100)}, "--fs"),
        ({"strict": True}, "--strict"),
        ({"batch_size": 2}, "--batch"),
        ({"reconstruction_error": False}, "--reconstruction-error"),
        ({"warn_ood": False}, "--warn-ood"),
    ],
)
def test_another_option_starts_over_and_is_named(eighteen, tmp_path, small_parts, change, said):
    run(job_of(tmp_path / "p.csv"), eighteen, n_parts=2)
    other = PredictOptions(**{"batch_size": 4} | change)
    differences, done = run(job_of(tmp_path / "p.csv", options=other), eighteen, n_parts=2)
    assert differences == (said,)
    assert not any(part.kept for part in done)


def test_another_model_is_not_mixed_with_the_rows_of_the_first(eighteen, tmp_path, small_parts):
    run(job_of(tmp_path / "p.csv"), eighteen, n_parts=1)
    other = job_of(tmp_path / "p.csv", digest="0" * 64)
    with pytest.raises(PredictorError, match="was replaced by another model"):
        run(other, eighteen)
    assert not list(other.folder.glob("part-*"))  # the rows of the first are gone


def test_a_part_is_predicted_again_if_one_of_its_files_has_changed(eighteen, tmp_path, small_parts):
    folder = tmp_path / "records"
    shutil.copytree(eighteen, folder)
    run(job_of(tmp_path / "p.csv"), folder, n_parts=4)
    write_record(folder / "other", ecg(np.random.default_rng(1)))
    (folder / "other.dat").replace(folder / "r09.dat")  # the header stays
    (folder / "other.hea").unlink()
    _, done = run(job_of(tmp_path / "p.csv"), folder)
    assert [part.kept for part in done] == [True, True, False, True, False]
    assert read(tmp_path / "p.csv") == whole(tmp_path / "whole.csv", folder)


def test_a_folder_of_parts_that_can_no_longer_be_written_is_a_sentence(tmp_path, monkeypatch):
    def refuse(path, text):
        raise OSError(errno.EROFS, "Read-only file system", ".hidden.partial")

    monkeypatch.setattr(parts, "write_text", refuse)
    job = job_of(tmp_path / "p.csv")
    job.folder.mkdir()
    with (
        pytest.raises(PredictionsFileError, match=r"p.csv: cannot be written: Read-only file system\."),
        partial_table(job),
    ):
        pytest.fail("the work began")


@pytest.mark.parametrize("receipt", ["{}", "[]", "null", '{"failures": 1}', '{"failures": [], "number": 1, "more": 2}'])
def test_a_receipt_that_lacks_fields_counts_as_none(tmp_path, receipt):
    job = job_of(tmp_path / "p.csv")
    job.folder.mkdir()
    job.table(1).touch()
    job.receipt(1).write_text(receipt)
    assert parts.read_receipt(job, 1) is None


@pytest.mark.parametrize("damage", ["half a receipt", "half a table", "no table"])
def test_a_part_that_is_damaged_is_predicted_again(eighteen, expected, tmp_path, small_parts, damage):
    job = job_of(tmp_path / "p.csv")
    run(job, eighteen, n_parts=2)
    path = job.receipt(1) if damage == "half a receipt" else job.table(1)
    path.write_bytes(path.read_bytes()[:100])
    if damage == "no table":
        path.unlink()
    _, done = run(job, eighteen)
    assert [part.kept for part in done] == [True, False, False, False, False]
    assert read(tmp_path / "p.csv") == expected


def test_a_killed_worker_is_an_error_that_names_the_file_and_keeps_the_rows(
    eighteen, expected, tmp_path, small_parts, monkeypatch
):
    monkeypatch.setattr("data_prep.parallel.SECONDS_WORTH_WORKERS", 0.0)
    job = job_of(tmp_path / "p.csv")
    with monkeypatch.context() as patch:
        patch.setattr(parts, "predict_part", kill_itself)
        with pytest.raises(PredictorError, match=r"r04.hea: a worker process was killed, .* same command again"):
            run(job, eighteen, workers=2)
    assert run(job, eighteen)[1][0].kept
    assert read(tmp_path / "p.csv") == expected


def test_the_parts_are_not_taken_for_ecgs(eighteen, tmp_path, small_parts):
    folder = tmp_path / "records"
    shutil.copytree(eighteen, folder)
    out = folder / "p.csv"
    run(job_of(out), folder, n_parts=2)
    found = [file.name for file in find_files([folder], leave_out=(out, partial_folder(out)))]
    assert found == [f"r{number:02d}.hea" for number in range(18)]


SCRIPT = """
import sys
from ecgmtl.cli import main
from ecgmtl.inference import parts
parts.FILES_A_PART = 2
sys.argv = ["ecgmtl", "predict", "{records}", "--out", "p.csv", "--batch", "2", "--workers", "1"]
main()
"""


def test_a_table_killed_at_random_moments_is_whole_in_the_end(eighteen, tmp_path):
    """Rows are neither lost nor doubled, and until the end there is no table."""
    chance = np.random.default_rng(os.getpid())
    command = [sys.executable, "-c", SCRIPT.format(records=eighteen)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run_it = partial(subprocess.Popen, command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        with run_it() as process:
            process.stderr.readline()  # the model is loaded
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
        if (tmp_path / "p.csv").exists():
            break
    with run_it() as process:
        said = process.communicate()[1]
    assert process.returncode == 3, said  # one file is cut off
    rows = pd.read_csv(tmp_path / "p.csv")
    assert rows["path"].map(lambda path: Path(path).name).tolist() == [f"r{number:02d}.hea" for number in range(18)]
    assert list(tmp_path.iterdir()) == [tmp_path / "p.csv"]
