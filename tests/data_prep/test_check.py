import shutil

import numpy as np
import pytest

from data_prep.check import check
from data_prep.preprocess import Preprocess
from data_prep.readers import ReadOptions
from data_prep.sources.tables import SourceError
from data_prep.store.prepare import prepare
from tests.folders import LEADS, ecg, edit, write_ptbxl, write_record


@pytest.fixture
def folder(tmp_path, rng):
    return write_ptbxl(tmp_path / "ptbxl", [{"NORM": 100.0}] * 4, rng)


def record(folder, number):
    return folder / f"records100/00000/{number:05d}_lr"


def kinds(folder):
    return check(folder).counts


def test_a_sound_folder_has_no_findings(folder):
    report = check(folder)
    assert (report.n_files, report.findings) == (4, ())
    assert report.render().endswith("4 files read, nothing wrong found.")


@pytest.mark.real
def test_the_real_records_are_sound(shared_data):
    assert check(shared_data / "ptbxl-official-100hz").findings == ()


def changed(name):
    """Turns a good ECG into one with a single thing wrong."""

    def change(signal):
        if name == "not-a-number":
            signal[10:20, 7] = np.nan
        elif name == "gap-filled":
            signal[10:20, 3] = np.nan
        elif name == "flat-lead":
            signal[:, 7] = 0.0
        elif name == "unit":
            signal[:] = signal * 1000
        elif name == "limb-leads-contradict":
            signal[:, [0, 1]] = signal[:, [1, 0]]
        return {"too-short": signal[:200], "short": signal[:700]}.get(name, signal)

    return change


@pytest.mark.parametrize(
    "kind", ["not-a-number", "gap-filled", "flat-lead", "unit", "limb-leads-contradict", "too-short", "short"]
)
def test_an_odd_record_is_reported_by_what_is_odd(folder, rng, kind):
    write_record(record(folder, 2), changed(kind)(ecg(rng)), gain=1 if kind == "unit" else 1000)
    report = check(folder)
    assert report.counts == {kind: 1}
    assert report.findings[0].name == "records100/00000/00002_lr.hea"


def test_missing_leads_are_distinguished_from_those_that_can_be_derived(folder, rng):
    leads = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
    signal = ecg(rng)
    write_record(record(folder, 1), signal[:, [0, 1, 6, 7, 8, 9, 10, 11]], leads=leads)
    write_record(record(folder, 2), signal[:, [0, 1]], leads=leads[:2])
    report = check(folder)
    assert report.counts == {"lead-derived": 2, "lead-missing": 1}
    assert "leads V1, V2, V3, V4, V5 and V6 are missing" in report.render()


def test_records_that_would_be_left_out_are_reported(folder, rng):
    write_record(record(folder, 1), ecg(rng), leads=[*LEADS[:11], "ECG V1"])
    write_record(record(folder, 2), ecg(rng), fs=40)
    found = kinds(folder)
    assert (found["lead-named-twice"], found["sampling-rate"]) == (1, 1)


def test_unreadable_files_are_distinguished_from_missing_ones(folder):
    record(folder, 1).with_suffix(".hea").unlink()
    record(folder, 2).with_suffix(".dat").write_bytes(b"cut")
    assert kinds(folder) == {"missing file": 1, "unreadable": 1}


def test_a_missing_file_is_named_by_its_line_because_the_cell_may_hold_a_patient_s_name(tmp_path, rng):
    write_record(tmp_path / "a", ecg(rng))
    (tmp_path / "labels.csv").write_text("record,AF\na,1\nAnn Kim,0\nKim.csv,0\n")
    report = check(tmp_path)
    assert (report.n_files, report.counts) == (1, {"missing file": 2})
    assert "2 missing file: line 3, line 4" in report.render()
    assert "labels.csv, line 3: the file that it names is not there." in report.render()
    assert "Kim" not in report.render()
    for suffix in (".hea", ".dat"):
        (tmp_path / f"a{suffix}").unlink()
    assert check(tmp_path).counts == {"missing file": 3}


def test_records_with_the_same_samples_are_reported(folder):
    for suffix in (".hea", ".dat"):
        shutil.copy(record(folder, 1).with_suffix(suffix), record(folder, 3).with_suffix(suffix))
    edit(record(folder, 3).with_suffix(".hea"), "00001_lr", "00003_lr")
    (finding,) = check(folder).findings
    assert finding.kind == "duplicate"
    assert finding.message.endswith("00003_lr.hea holds the same samples as records100/00000/00001_lr.hea.")


def test_a_record_at_another_rate_is_reported(folder, rng):
    write_record(record(folder, 4), ecg(rng, 5000, 500), 500)
    assert kinds(folder) == {"other sampling rate": 1}


def test_a_record_that_lost_its_voltage_scale_is_reported(folder, rng):
    signal = ecg(rng)
    write_record(record(folder, 1), signal / signal.std(axis=0))
    (finding,) = check(folder).findings
    assert (finding.kind, "each lead lost its voltage" in finding.message) == ("lost-voltage", True)


def test_both_sampling_rates_are_read(tmp_path, rng):
    folder = write_ptbxl(tmp_path / "ptbxl", [{"SR": 0.0}] * 2, rng, rates=(100, 500))
    report = check(folder)
    assert (report.n_files, report.findings) == (4, ())


def test_every_contradiction_of_the_table_is_listed(tmp_path, rng):
    folder = write_ptbxl(tmp_path / "ptbxl", [{"SR": 0.0}, {"X": 0.0, "Y": 0.0}], rng, patients=[7, 7], folds=[1, 10])
    assert kinds(folder) == {"label without statement": 2, "patient in two splits": 1}


def test_records_that_no_table_names_are_listed(folder, rng):
    write_record(folder / "records100/00000/extra", ecg(rng))
    assert kinds(folder) == {"not in the table": 1}


def test_a_table_that_cannot_be_used_does_not_hide_the_records(folder):
    edit(folder / "ptbxl_database.csv", "strat_fold", "fold")
    report = check(folder)
    assert report.counts == {"unusable table": 1}
    assert report.n_files == 4


def test_files_outside_the_folder_are_not_opened(folder):
    edit(folder / "ptbxl_database.csv", "records100/00000/00003_lr", "../00003_lr")
    report = check(folder)
    assert report.counts == {"outside the folder": 1, "not in the table": 1}
    assert report.n_files == 3


def test_any_folder_of_records_can_be_checked(tmp_path, rng):
    write_record(tmp_path / "a", ecg(rng))
    write_record(tmp_path / "b/c", ecg(rng)[:100])
    report = check(tmp_path)
    assert report.n_files == 2
    assert report.counts == {"too-short": 1}


def test_a_labeled_folder_is_checked_with_its_table(tmp_path, rng):
    write_record(tmp_path / "a", ecg(rng))
    (tmp_path / "labels.csv").write_text("record,AF\na,1\nb,perhaps\n")
    assert kinds(tmp_path) == {"unreadable labels": 1, "missing file": 1}


@pytest.mark.parametrize(("third", "counts"), [("1", {}), ("0", {"one class only": 1})])
def test_labels_of_one_class_and_the_meaning_of_columns_are_reported(tmp_path, rng, third, counts):
    rows = [("a", "train", "1"), ("b", "train", "0"), ("c", "validation", third), ("d", "validation", "0")]
    for name, *_ in rows:
        write_record(tmp_path / name, ecg(rng))
    table = "\n".join(["record,Split,device,AF,MI", *(f"{name},{split},x,{af},0" for name, split, af in rows)])
    (tmp_path / "labels.csv").write_text(table)
    report = check(tmp_path)
    assert report.counts == counts
    assert "split is 'Split'; labels are AF, MI; left out: device" in report.render()
    assert (
        "of 2 validation records, these numbers have the label: " + ("AF 0, MI 0" if counts else "MI 0")
    ) in report.render()
    notes = prepare(tmp_path, tmp_path / "store", Preprocess()).notes
    assert any("of 2 validation records" in note for note in notes)
    assert all(note in notes for note in report.notes)


def test_files_are_checked_with_the_read_options(tmp_path, rng):
    np.savetxt(tmp_path / "a.csv", 1000 * ecg(rng, 2500, 250), "%d", ",")
    assert kinds(tmp_path) == {"unreadable": 1}
    options = ReadOptions(fs=250.0, unit="uV", leads=tuple(LEADS))
    assert check(tmp_path, options=options).counts == {}
    assert check(tmp_path, options=ReadOptions(fs=500.0, unit="uV", leads=tuple(LEADS))).counts["short"] == 1


def test_long_lists_are_cut_in_the_text(tmp_path, rng):
    folder = write_ptbxl(tmp_path / "ptbxl", [{"SR": 0.0}] * 8, rng)
    for path in folder.glob("records100/*/*.dat"):
        path.unlink()
    text = check(folder).render()
    assert "8 unreadable: records100/00000/00001_lr.hea" in text
    assert "00005_lr.hea and 3 more\n" in text


def test_progress_reaches_all_files(folder):
    calls = []
    check(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(4, 4)]


@pytest.mark.parametrize(("name", "message"), [("absent", "no such folder"), ("empty", "there is no ECG in it")])
def test_a_folder_without_ecgs_cannot_be_checked(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=message):
        check(tmp_path / name)


def test_notes_alone_leave_a_folder_sound(folder, rng):
    signal = ecg(rng)
    write_record(record(folder, 1), signal[:, [0, 1, *range(6, 12)]], leads=["I", "II", *LEADS[6:]])
    report = check(folder)
    assert (report.counts, report.is_sound) == ({"lead-derived": 1}, True)
    assert "files read, with notes." in report.render()
    write_record(record(folder, 2), signal[:, [0, 1]], leads=["I", "II"])
    assert not check(folder).is_sound
