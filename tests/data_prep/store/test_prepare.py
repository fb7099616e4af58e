import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from data_prep import parallel
from data_prep.lock import FolderInUseError
from data_prep.preprocess import Preprocess
from data_prep.readers import ReadOptions
from data_prep.record import RecordError
from data_prep.sources.tables import SourceError
from data_prep.store.chunks import RECORDS_A_CHUNK, to_microvolts
from data_prep.store.manifest import StoreError, write_manifest
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from tests.folders import LEADS, ecg, edit, write_ptbxl, write_record

CODES = [{"NORM": 100.0}, {"IMI": 100.0, "SR": 0.0}, {}, {"NDT": 0.0}]
RAW = Preprocess(baseline="keep")


class KilledError(Exception):
    """Stands for whatever ends a run from outside."""


def kill(done, total):
    raise KilledError


@pytest.fixture
def folder(tmp_path, rng):
    return write_ptbxl(tmp_path / "ptbxl", CODES, rng)


@pytest.fixture(scope="module")
def chunky(tmp_path_factory):
    """Three chunks of records; the tests that use it only read it."""
    codes = [{"NORM": 100.0}] * (2 * RECORDS_A_CHUNK + 3)
    return write_ptbxl(tmp_path_factory.mktemp("chunky") / "ptbxl", codes, np.random.default_rng(0))


@pytest.fixture(scope="module")
def whole(chunky, tmp_path_factory):
    """The store of these records, prepared in one go."""
    out = tmp_path_factory.mktemp("whole") / "store"
    prepare(chunky, out, Preprocess())
    return out


def content(out):
    """Contents of the files by their names; the lock stays, since removing it would let two processes in."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}


def test_the_store_holds_what_wfdb_reads_in_microvolts(folder, tmp_path):
    report = prepare(folder, tmp_path / "store", RAW)
    assert (report.n_records, report.failures) == (4, ())
    store = open_store(tmp_path / "store")
    for row, name in enumerate(store.records["name"]):
        expected = wfdb.rdsamp(str(folder / name))[0].T * 1000
        assert np.abs(store.signals[row] - expected).max() < 0.01


@pytest.mark.real
def test_published_records_keep_every_microvolt_and_label_set(shared_data, tmp_path):
    sample, source = shared_data / "ptbxl-sample", tmp_path / "source"
    source.mkdir()
    (source / "records100").symlink_to(sample / "records100")
    (source / "scp_statements.csv").write_text((sample / "scp_statements.csv").read_text())
    pd.read_csv(sample / "ptbxl_database.csv")[::50].to_csv(source / "ptbxl_database.csv", index=False)
    prepare(source, tmp_path / "store", RAW)
    store = open_store(tmp_path / "store")
    for name, signal in zip(store.records["name"], store.signals, strict=True):
        assert np.array_equal(signal, wfdb.rdrecord(str(source / name), physical=False).d_signal.T)
    sizes = {"all": 71, "diagnostic": 44, "subdiagnostic": 23, "superdiagnostic": 5, "form": 19, "rhythm": 12}
    assert {name: store.labels(name).shape for name in sizes} == {name: (46, size) for name, size in sizes.items()}


def test_the_manifest_says_what_the_store_was_made_from(folder, tmp_path):
    prepare(folder, tmp_path / "store", Preprocess(band=(0.5, 40.0)), "form")
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    assert manifest["preprocess"] == {"fs": 100, "seconds": 10.0, "baseline": "mean", "band": [0.5, 40.0]}
    assert manifest["source"]["kind"] == "PTB-XL"
    assert manifest["signals"]["shape"] == [4, 12, 1000]
    assert manifest["labels"] == "form"


def test_workers_write_an_identical_store(chunky, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "SECONDS_WORTH_WORKERS", 0.0)
    prepare(chunky, tmp_path / "two", Preprocess(), workers=2)
    assert content(whole) == content(tmp_path / "two")


def test_progress_counts_records_up_to_all(chunky, tmp_path):
    calls = []
    prepare(chunky, tmp_path / "store", Preprocess(), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(64, 131), (128, 131), (131, 131)]


def test_a_killed_run_resumes_where_it_stopped(chunky, whole, tmp_path):
    with pytest.raises(KilledError):
        prepare(chunky, tmp_path / "store", Preprocess(), progress=kill)
    with pytest.raises(StoreError, match="its preparation was not finished"):
        open_store(tmp_path / "store")
    report = prepare(chunky, tmp_path / "store", Preprocess())
    assert report.n_resumed == RECORDS_A_CHUNK
    assert content(tmp_path / "store") == content(whole)


def test_a_damaged_chunk_is_prepared_again(chunky, whole, tmp_path):
    with pytest.raises(KilledError):
        prepare(chunky, tmp_path / "store", Preprocess(), progress=kill)
    with (tmp_path / "store/signals.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with (tmp_path / "store/progress.jsonl").open("a") as file:
        file.write('{"first": 64, "n_rec')
    assert prepare(chunky, tmp_path / "store", Preprocess()).n_resumed == 0
    assert content(tmp_path / "store") == content(whole)


SCRIPT = """
import sys, time
from pathlib import Path
from data_prep.store.prepare import prepare
from data_prep.preprocess import Preprocess
def wait(done, total):
    print(done, flush=True)
    time.sleep(60)
prepare(Path(sys.argv[1]), Path(sys.argv[2]), Preprocess(), progress=wait)
"""


def test_a_run_resumes_after_kill_minus_nine(chunky, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, chunky, tmp_path / "store"], stdout=subprocess.PIPE)
    with process:
        process.stdout.readline()
        process.kill()
    assert prepare(chunky, tmp_path / "store", Preprocess()).n_resumed == RECORDS_A_CHUNK
    open_store(tmp_path / "store")


def test_a_run_killed_after_the_last_record_resumes(folder, tmp_path):
    (folder / "records100/00000/00002_lr.dat").unlink()
    prepare(folder, tmp_path / "whole", Preprocess())
    with pytest.raises(KilledError):
        prepare(folder, tmp_path / "store", Preprocess(), progress=kill)
    signals = (tmp_path / "whole/signals.npy").read_bytes()
    (tmp_path / "store/signals.npy").write_bytes(signals)  # the gaps are closed, the manifest is not written
    prepare(folder, tmp_path / "store", Preprocess())
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_finished_store_is_reused(chunky, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "store")
    before, began = content(tmp_path / "store"), time.perf_counter()
    report = prepare(chunky, tmp_path / "store", Preprocess(), progress=kill)
    assert report.n_resumed == report.n_records
    assert time.perf_counter() - began < 1
    assert content(tmp_path / "store") == before


def test_another_default_label_set_needs_no_new_signals(folder, tmp_path):
    prepare(folder, tmp_path / "store", Preprocess())
    before = open_store(tmp_path / "store").sha256
    assert prepare(folder, tmp_path / "store", Preprocess(), "rhythm").n_resumed == 4
    store = open_store(tmp_path / "store")
    assert store.default_labels == "rhythm"
    assert store.sha256 == before


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(folder, tmp_path, finished):
    if finished:
        prepare(folder, tmp_path / "store", Preprocess())
    else:
        with pytest.raises(KilledError):
            prepare(folder, tmp_path / "store", Preprocess(), progress=kill)
    before = content(tmp_path / "store")
    expected = (
        r"different settings \(fs 100, this asks for 50; baseline mean, this asks for keep\); choose another folder"
    )
    with pytest.raises(StoreError, match=expected):
        prepare(folder, tmp_path / "store", Preprocess(fs=50, baseline="keep"))
    assert content(tmp_path / "store") == before


def test_another_source_is_refused(folder, tmp_path):
    prepare(folder, tmp_path / "store", Preprocess())
    edit(folder / "ptbxl_database.csv", "'NORM'", "'SR'")
    with pytest.raises(StoreError, match=r"made from different records or tables \(ptbxl\)"):
        prepare(folder, tmp_path / "store", Preprocess())


def test_records_that_cannot_be_read_are_named_and_left_out(folder, tmp_path, rng):
    records = folder / "records100/00000"
    (records / "00001_lr.dat").unlink()
    (records / "00003_lr.dat").write_bytes((records / "00003_lr.dat").read_bytes()[:-100])
    report = prepare(folder, tmp_path / "store", RAW)
    assert [name for name, _ in report.failures] == ["records100/00000/00001_lr", "records100/00000/00003_lr"]
    assert "00003_lr.dat holds 23900 bytes" in report.failures[1][1]
    store = open_store(tmp_path / "store")
    assert list(store.records["ecg_id"]) == [2, 4]
    assert store.labels("all").tolist() == [[0, 0, 1, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
    expected = wfdb.rdsamp(str(records / "00004_lr"))[0].T * 1000
    assert np.abs(store.signals[1] - expected).max() < 0.01
    assert list(pd.read_csv(tmp_path / "store/failures.csv")["name"]) == [name for name, _ in report.failures]
    assert prepare(folder, tmp_path / "store", RAW).failures == report.failures


def test_a_failed_record_is_tried_again_on_resuming(folder, tmp_path):
    lost = folder / "records100/00000/00001_lr.dat"
    samples = lost.read_bytes()
    lost.unlink()
    with pytest.raises(KilledError):
        prepare(folder, tmp_path / "store", Preprocess(), progress=kill)
    lost.write_bytes(samples)
    assert prepare(folder, tmp_path / "store", Preprocess()).failures == ()


def test_a_preparation_without_a_usable_record_fails_and_leaves_nothing(folder, tmp_path):
    for path in folder.glob("records100/*/*.dat"):
        path.unlink()
    with pytest.raises(StoreError, match=r"none of 4 records could be prepared.*00001_lr"):
        prepare(folder, tmp_path / "store", Preprocess())
    assert content(tmp_path / "store") == {}


def test_warnings_on_a_record_are_kept_in_its_row(folder, tmp_path, rng):
    write_record(folder / "records100/00000/00002_lr", ecg(rng, 500))
    report = prepare(folder, tmp_path / "store", Preprocess())
    assert report.n_warned == 1
    warnings = list(open_store(tmp_path / "store").records["warnings"])
    assert ["lasts 5 s" in text for text in warnings] == [False, True, False, False]


def test_records_that_would_get_no_decision_are_counted_by_the_reason(folder, tmp_path, rng):
    still = ecg(rng)
    still[300:] /= 100
    write_record(folder / "records100/00000/00002_lr", still)
    (note,) = (note for note in prepare(folder, tmp_path / "store", Preprocess()).notes if "no decision" in note)
    assert note.startswith("Prediction would make no decision on 1 of these records (no-beats 1), but training and ev")


def test_upsampling_is_warned_of(tmp_path, rng):
    write_record(tmp_path / "records/a", ecg(rng, 1000), 100)
    (tmp_path / "records/labels.csv").write_text("record,patient_id,AF\na,1,1\n")
    prepare(tmp_path / "records", tmp_path / "store", Preprocess(fs=200))
    assert "upsampled to 200 Hz" in open_store(tmp_path / "store").records["warnings"][0]


def test_a_labeled_folder_becomes_a_store(tmp_path, rng):
    folder = tmp_path / "records"
    signals = [ecg(rng) for _ in range(3)]
    write_record(folder / "a", signals[0])
    write_record(folder / "b/c", signals[1])
    np.savez(folder / "d.npz", signal=signals[2].astype(np.float32), fs=100, leads=LEADS)
    (folder / "labels.csv").write_text(
        "record,patient_id,split,VT,AF\na,01,train,0,1\nb/c,02,test,1,1\nd,03,train,0,0\n"
    )
    prepare(folder, tmp_path / "store", RAW)
    store = open_store(tmp_path / "store")
    assert list(store.records["patient_id"]) == ["01", "02", "03"]
    assert store.labels("labels").tolist() == [[0, 1], [1, 1], [0, 0]]
    for row, signal in enumerate(signals):
        assert np.abs(store.signals[row] - 1000 * signal.T).max() < 1


@pytest.fixture
def bare(tmp_path, rng):
    """A labeled folder of tables that state neither rate, unit nor leads."""
    folder = tmp_path / "bare"
    folder.mkdir()
    np.savetxt(folder / "a.csv", 1000 * ecg(rng, 2500, 250), "%d", ",")
    (folder / "labels.csv").write_text("record,patient_id,split,AF\na,1,train,1\n")
    return folder


STATED = ReadOptions(fs=250.0, unit="uV", leads=tuple(LEADS))


def test_options_that_files_do_not_state_are_kept_in_the_manifest(bare, tmp_path):
    prepare(bare, tmp_path / "store", Preprocess(fs=250, baseline="keep"), options=STATED)
    expected = np.loadtxt(bare / "a.csv", delimiter=",").T
    assert np.abs(open_store(tmp_path / "store").signals[0] - expected).max() < 1
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    assert manifest["read"] | {"fs": 250.0, "unit": "uV", "leads": LEADS} == manifest["read"]


@pytest.mark.parametrize("finished", [True, False])
def test_a_preparation_resumes_only_with_the_read_options_it_began_with(bare, tmp_path, finished):
    if finished:
        prepare(bare, tmp_path / "store", Preprocess(), options=STATED)
    else:
        with pytest.raises(KilledError):
            prepare(bare, tmp_path / "store", Preprocess(), progress=kill, options=STATED)
    for other in (ReadOptions(fs=500.0, unit="uV", leads=tuple(LEADS)), ReadOptions()):
        with pytest.raises(StoreError, match=rf"different settings \(--fs 250.0, this asks for {other.fs}"):
            prepare(bare, tmp_path / "store", Preprocess(), options=other)
    report = prepare(bare, tmp_path / "store", Preprocess(), options=STATED)
    assert report.n_resumed == 1


def test_a_folder_prepared_before_read_options_were_kept_had_none(folder, tmp_path):
    prepare(folder, tmp_path / "store", Preprocess())
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    del manifest["read"]
    write_manifest(tmp_path / "store", manifest)
    assert prepare(folder, tmp_path / "store", Preprocess()).n_resumed == 4
    with pytest.raises(StoreError, match=r"--unit None, this asks for uV"):
        prepare(folder, tmp_path / "store", Preprocess(), options=ReadOptions(unit="uV"))


def test_partial_files_of_a_killed_run_do_not_prevent_the_next(folder, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.progress.jsonl.1.partial").write_text("{")
    assert prepare(folder, tmp_path / "store", Preprocess()).n_records


def test_a_folder_with_other_files_is_not_written_to(folder, tmp_path):
    with pytest.raises(StoreError, match=r"holds other files \(ptbxl_database.csv, records100, scp_statements.csv\)"):
        prepare(folder, folder, Preprocess())


def test_a_folder_that_another_process_prepares_is_left_alone(folder, tmp_path):
    def again(done, total):
        prepare(folder, tmp_path / "store", Preprocess())

    with pytest.raises(FolderInUseError, match="store is in use by process"):
        prepare(folder, tmp_path / "store", Preprocess(), progress=again)


def test_a_place_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/store: cannot be written \(Not a directory\)"):
        prepare(folder, tmp_path / "file/store", Preprocess())


def test_a_full_disk_is_detected_before_any_work(folder, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"cannot be written \(File too large\); it takes 0.1 MB"):
            prepare(folder, tmp_path / "store", Preprocess(), progress=kill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert content(tmp_path / "store") == {}


def test_folders_that_are_not_sources_are_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for source, message in [
        (tmp_path / "absent", "no such folder"),
        (tmp_path / "file", "not a folder"),
        (tmp_path / "empty", r"neither ptbxl_database.csv \(PTB-XL\) nor labels.csv"),
        (tmp_path, r"Did you mean .*/ptbxl\?"),
    ]:
        with pytest.raises(SourceError, match=message):
            prepare(source, tmp_path / "store", Preprocess())
    assert not (tmp_path / "store").exists()


def test_the_error_for_an_unknown_label_set_lists_the_known_ones(folder, tmp_path):
    with pytest.raises(StoreError, match="no label set 'super'; choose one of all, diagnostic, subdiagnostic"):
        prepare(folder, tmp_path / "store", Preprocess(), "super")


@pytest.mark.parametrize("value", [32.768, -40.0, np.nan, np.inf])
def test_values_that_16_bits_cannot_hold_are_refused(value):
    with pytest.raises(RecordError, match="r1: it reaches"):
        to_microvolts("r1", np.full((12, 4), value, np.float32))


def test_files_that_change_while_they_are_read_are_left_out(chunky, whole, tmp_path):
    source, out = shutil.copytree(chunky, tmp_path / "ptbxl"), tmp_path / "store"
    last = sorted(source.rglob("*.dat"))[-3:]

    def change(done, total):
        if done == RECORDS_A_CHUNK:
            last[0].write_bytes(last[0].read_bytes()[:12000])
            last[1].unlink()
            last[2].write_bytes(last[0].read_bytes() * 2)  # of the right length

    report = prepare(source, out, Preprocess(), progress=change)
    assert [Path(name).name for name, _ in report.failures] == [path.stem for path in last]
    assert report.n_records == 2 * RECORDS_A_CHUNK
    np.testing.assert_array_equal(open_store(out).signals, open_store(whole).signals[:-3])
