"""Folders that several jobs prepare, each its share of the chunks."""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import typer

from data_prep.lock import FolderInUseError
from data_prep.preprocess import Preprocess
from data_prep.readers import ReadOptions
from data_prep.share import Share
from data_prep.store import ledger, locks, plan, prepare
from data_prep.store.manifest import StoreError
from data_prep.store.open import open_store
from ecgmtl.cli.options import share_of
from tests.folders import edit, write_ptbxl

ROOT = Path(__file__).parents[3]
A_CHUNK, N_CHUNKS = 8, 4
LOST = (5, 12, 26)
"""Records without samples, in three of the chunks."""


class KilledError(Exception):
    """Stands for whatever ends a job from outside."""


def kill(done, total):
    raise KilledError


@pytest.fixture(autouse=True, scope="module")
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "RECORDS_A_CHUNK", A_CHUNK)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of four chunks, of which three are left out. The tests that use it only read it."""
    codes = [{"NORM": 100.0}] * (3 * A_CHUNK + 4)
    folder = write_ptbxl(tmp_path_factory.mktemp("jobs") / "ptbxl", codes, np.random.default_rng(0))
    for number in LOST:
        path_of(folder, number).rename(folder.parent / f"{number}.dat")
    return folder


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """The store of these records, prepared in one go."""
    out = tmp_path_factory.mktemp("whole") / "store"
    run(folder, out)
    return content(out)


def path_of(folder, number):
    return folder / f"records100/00000/{number:05d}_lr.dat"


def run(folder, out, share=None, **options):
    share = share and Share.parse(share)
    return prepare.prepare(folder, out, options.pop("preprocess", Preprocess()), share=share, **options)


def content(out):
    """Contents of the files by their names. A lock stays, since removing it would let two processes in."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name not in (".lock", locks.GATE)}


@pytest.mark.parametrize("order", ["123", "231", "321"])
def test_three_jobs_in_any_order_write_what_one_call_writes(folder, whole, tmp_path, order):
    counts = []
    for index in order:
        with pytest.raises(StoreError, match="is not a prepared folder"):
            open_store(tmp_path / "store")
        report = run(folder, tmp_path / "store", f"{index}/3")
        counts.append(report.n_finished)
    chunks = {"1": 2, "2": 1, "3": 1}
    assert counts[:2] == [chunks[order[0]], chunks[order[0]] + chunks[order[1]]]
    assert (report.n_chunks, report.n_records, len(report.failures)) == (None, 25, 3)
    assert content(tmp_path / "store") == whole
    assert run(folder, tmp_path / "store", "1/3").n_resumed == 25


def test_a_job_without_chunks_may_complete_the_folder_or_do_nothing(folder, whole, tmp_path):
    report = run(folder, tmp_path / "store", "9/9")
    assert (report.n_finished, report.n_chunks, report.n_records) == (0, N_CHUNKS, 0)
    for index in range(8, 0, -1):
        run(folder, tmp_path / "store", f"{index}/9")
    assert content(tmp_path / "store") == whole


def test_a_job_reports_its_own_failures_and_tries_them_again(folder, tmp_path):
    copy, store = tmp_path / "ptbxl", tmp_path / "store"
    shutil.copytree(folder, copy)
    report = run(copy, store, "2/2")
    assert [name for name, _ in report.failures] == ["records100/00000/00012_lr", "records100/00000/00026_lr"]
    assert (report.n_records, report.n_finished) == (10, 2)
    for number in LOST:
        shutil.copy(folder.parent / f"{number}.dat", path_of(copy, number))
    report = run(copy, store, "2/2")
    assert (report.failures, report.n_resumed) == ((), 0)
    assert run(copy, store, "1/2").failures == ()
    run(copy, tmp_path / "one")
    assert content(store) == content(tmp_path / "one")


def test_a_call_without_a_share_completes_what_jobs_have_left(folder, whole, tmp_path):
    run(folder, tmp_path / "store", "4/4")
    run(folder, tmp_path / "store", "3/4")
    with pytest.raises(KilledError):
        run(folder, tmp_path / "store", "1/4", progress=kill)
    report = run(folder, tmp_path / "store")
    assert report.n_resumed == A_CHUNK  # each of the others has a failure, which is tried again
    assert content(tmp_path / "store") == whole


def test_jobs_complete_what_a_call_without_a_share_has_left(folder, whole, tmp_path):
    begun = []

    def kill_after_three(done, total):
        begun.append(done)
        if len(begun) == 3:
            raise KilledError

    with pytest.raises(KilledError):
        run(folder, tmp_path / "store", progress=kill_after_three)
    assert run(folder, tmp_path / "store", "1/2").n_resumed == A_CHUNK  # the third chunk
    assert run(folder, tmp_path / "store", "2/2").n_resumed == 15  # all that it did not prepare itself
    assert content(tmp_path / "store") == whole


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preprocess": Preprocess(baseline="keep")}, r"\(baseline mean, this asks for keep\)"),
        ({"options": ReadOptions(unit="uV")}, r"\(--unit None, this asks for uV\)"),
        ({"labels": "rhythm"}, r"\(--labels superdiagnostic, this asks for rhythm\)"),
        ({"share": "2/3"}, r"was begun with --part I/2, this asks for 2/3; give every job the same number"),
    ],
)
def test_a_job_with_other_settings_is_refused_and_changes_nothing(folder, tmp_path, options, said):
    run(folder, tmp_path / "store", "1/2")
    before = content(tmp_path / "store")
    with pytest.raises(StoreError, match=said):
        run(folder, tmp_path / "store", **{"share": "2/2", **options})
    after = content(tmp_path / "store")
    assert {name: after[name] for name in before} == before
    assert all(name.startswith(".lock-") for name in set(after) - set(before))


def test_a_job_of_another_version_or_source_is_refused(folder, tmp_path, monkeypatch):
    run(folder, tmp_path / "store", "1/2")
    copy = tmp_path / "ptbxl"
    shutil.copytree(folder, copy)
    edit(copy / "ptbxl_database.csv", "'NORM'", "'SR'")
    with pytest.raises(StoreError, match=r"made from different records or tables \(ptbxl\)"):
        run(copy, tmp_path / "store", "2/2")
    monkeypatch.setattr(prepare, "version", lambda name: "9.9")
    with pytest.raises(StoreError, match=r"the version of ecgmtl .*, this asks for 9\.9"):
        run(folder, tmp_path / "store", "2/2")


def test_a_share_and_a_whole_folder_are_prepared_by_one_process_at_a_time(folder, whole, tmp_path):
    refused = []

    def others(done, total):
        for share in ("1/2", None):
            with pytest.raises(FolderInUseError, match=f"store is in use by process {os.getpid()}"):
                run(folder, tmp_path / "store", share)
            refused.append(share)

    run(folder, tmp_path / "store", "1/2", progress=others)
    with pytest.raises(KilledError):
        run(folder, tmp_path / "store", "2/2", progress=kill)
    assert set(refused) == {"1/2", None}

    def job(done, total):
        with pytest.raises(FolderInUseError):
            run(folder, tmp_path / "store", "2/2")

    run(folder, tmp_path / "store", progress=job)
    assert content(tmp_path / "store") == whole


def test_no_job_completes_a_folder_while_another_one_tries_failures_again(folder, whole, tmp_path):
    for index in "12":
        run(folder, tmp_path / "store", f"{index}/3")
    reports = []

    def complete(done, total):
        if not reports:  # the first job has begun again, and the third one finishes the last chunk
            reports.append(run(folder, tmp_path / "store", "3/3"))

    report = run(folder, tmp_path / "store", "1/3", progress=complete)
    assert reports[0].n_chunks == N_CHUNKS
    assert report.n_chunks is None
    assert content(tmp_path / "store") == whole


def test_a_job_that_only_waits_for_the_last_one_leaves_the_completion_to_it(folder, whole, tmp_path):
    for index in "23":
        run(folder, tmp_path / "store", f"{index}/3")
    with locks.one_share(tmp_path / "store", Share(2, 3)):
        report = run(folder, tmp_path / "store", "1/3")
    assert (report.n_finished, report.n_chunks) == (N_CHUNKS, N_CHUNKS)
    assert run(folder, tmp_path / "store", "2/3").n_chunks is None
    assert content(tmp_path / "store") == whole


def test_a_completion_that_was_killed_is_repeated_by_any_job(folder, whole, tmp_path, monkeypatch):
    for index in "12":
        run(folder, tmp_path / "store", f"{index}/3")
    with monkeypatch.context() as patch:

        def kill_at_the_tables(*_):
            raise KilledError

        patch.setattr("data_prep.store.finish.write_text", kill_at_the_tables)  # the gaps are closed already
        with pytest.raises(KilledError):
            run(folder, tmp_path / "store", "3/3")
    with pytest.raises(StoreError, match="is not a prepared folder"):
        open_store(tmp_path / "store")
    run(folder, tmp_path / "store", "2/3")
    assert content(tmp_path / "store") == whole


def test_a_damaged_chunk_of_another_job_is_prepared_again(folder, whole, tmp_path):
    run(folder, tmp_path / "store", "1/2")
    with (tmp_path / "store/signals.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    run(folder, tmp_path / "store", "2/2")
    assert content(tmp_path / "store") == whole


def test_a_job_waits_until_another_one_has_begun_the_folder(folder, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        with locks.gate(tmp_path / "store"):
            job = pool.submit(run, folder, tmp_path / "store", "1/2")
            with pytest.raises(TimeoutError):
                job.result(timeout=0.5)
            assert not (tmp_path / "store/progress.jsonl").exists()
        assert job.result().n_finished == 2


def test_jobs_without_a_usable_record_fail_and_leave_nothing(folder, tmp_path):
    copy = tmp_path / "ptbxl"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.dat"))
    assert run(copy, tmp_path / "store", "1/2").n_records == 0
    with pytest.raises(StoreError, match="none of 28 records could be prepared"):
        run(copy, tmp_path / "store", "2/2")
    assert content(tmp_path / "store") == {}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_jobs_need_locks(folder, tmp_path, monkeypatch, number):
    pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StoreError, match=rf"store: its file system has no locks \({os.strerror(number)}\)"):
        run(folder, tmp_path / "store", "1/2")
    assert content(tmp_path / "store") == {}


def test_a_ledger_with_a_cut_off_line_is_read_up_to_it(folder, whole, tmp_path):
    run(folder, tmp_path / "store", "1/2")
    path = ledger.path_of(tmp_path / "store", Share(1, 2))
    path.write_text(path.read_text()[:-9])
    report = run(folder, tmp_path / "store", "2/2")
    assert (report.n_finished, report.n_chunks) == (N_CHUNKS - 1, N_CHUNKS)
    run(folder, tmp_path / "store", "1/2")
    assert content(tmp_path / "store") == whole


SCRIPT = """
import itertools, os, sys, time
from data_prep.store import ledger, plan
from ecgmtl.cli import main
plan.RECORDS_A_CHUNK = 2
note, count = ledger.note, itertools.count(1)
def note_and_wait(*arguments):
    note(*arguments)
    if str(next(count)) == os.environ.get("WAIT_AFTER"):
        time.sleep(600)
ledger.note = note_and_wait
main()
"""


def start(folder, out, *arguments, **variables):
    command = [sys.executable, "-c", SCRIPT, "data", "prepare", str(folder), str(out), "--workers", "1", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    said, errors = process.communicate()
    return process.returncode, said + errors


def test_two_jobs_at_once_of_which_one_is_killed_and_begins_again(folder, whole, tmp_path):
    killed = start(folder, tmp_path / "store", "--part", "1/2", WAIT_AFTER="3")
    code, said = finish(start(folder, tmp_path / "store", "--part", "2/2"))
    own = tmp_path / "store/progress-1-of-2.jsonl"
    while not (own.exists() and own.read_text().count("\n") == 3) and killed.poll() is None:
        time.sleep(0.05)
    killed.kill()
    finish(killed)
    assert (code, "13 records in part 2/2, 1 left out" in said) == (3, True), said
    with pytest.raises(StoreError, match="its preparation was not finished"):
        open_store(tmp_path / "store")
    code, said = finish(start(folder, tmp_path / "store", "--part", "1/2"))
    assert (code, "25 records in" in said) == (3, True), said
    assert re.search(r"25 records in \S+, 3 left out(, \d+ with warnings)?, \d+ there already\n", said), said
    assert content(tmp_path / "store") == whole


def test_what_is_no_share_is_a_sentence():
    with pytest.raises(typer.BadParameter, match="'3/2' is not a share"):
        share_of("3/2")
