"""What every reader promises, and how records are found."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ecgmtl
from data_prep import ReadOptions, RecordError, find_records, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import FORMATS, READERS, OtherFile, find_files, summarize
from data_prep.readers.options import WHOLE
from data_prep.readers.other_files import OtherFileKind
from tests.folders import entry_of
from tests.refusals import refusal
from tests.vendor_files import muse, muse_waveform
from tests.wfdb_files import beats, write_wfdb


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"\x89PNG\r\n\x1a\n", "\u00fc\n".encode("utf-16")])
def test_nonsense_is_refused_by_every_reader(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert refusal(path).startswith("a.")


def test_files_without_a_reader_say_which_there_are(tmp_path):
    path = write(tmp_path / "a1.docx", "")
    assert refusal(path).startswith(
        "a1.docx: its content is in no supported format; the formats are WFDB, DICOM, EDF, BDF, SCP-ECG, "
    )
    assert refusal(tmp_path / "a1.xyz").endswith("a1.xyz: there is no such file.")
    assert refusal(tmp_path / "*.xyz").endswith("*.xyz: nothing matches this pattern.")


def test_no_suffix_belongs_to_two_formats():
    assert len(READERS) == sum(len(module.SUFFIXES) for module in FORMATS)


@pytest.mark.parametrize(
    "options",
    [
        {"fs": 0},
        {"fs": float("nan")},
        {"unit": "furlong"},
        {"leads": ()},
        {"seconds": 0},
        {"leads": ("foo=V9",)},
        {"leads": ("foo=V1", "V2")},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ReadOptions(**options)


def test_a_long_recording_is_read_no_further_than_it_is_used():
    assert ReadOptions().samples_to_read(10 * WHOLE, 500) == 10 * WHOLE
    assert ReadOptions(seconds=10).samples_to_read(WHOLE, 500) == WHOLE
    assert ReadOptions(seconds=10).samples_to_read(WHOLE + 1, 500) == 5000
    assert ReadOptions(seconds=1e6).samples_to_read(WHOLE + 1, 500) == WHOLE + 1


def write_all_formats(folder, leads):
    """The same ECG in each format; gives the files."""
    header = write_wfdb(folder, leads=leads)
    np.savez(folder / "a.npz", signal=beats(), fs=100, leads=leads, unit="mV")
    rows = "\n".join(",".join(map(str, row)) for row in beats())
    return header, folder / "a.npz", write(folder / "a.csv", f"# fs=100 unit=mV\n{','.join(leads)}\n{rows}\n")


@pytest.mark.parametrize("kind", [Path, str, entry_of])
def test_a_path_may_be_a_text_or_any_object_that_names_a_path(tmp_path, kind):
    header = write_wfdb(tmp_path)
    path, record = kind(header), read_record(header)
    assert list(find_records([path])) == list(find_records(path)) == [header]
    assert all(np.array_equal(read(path).signal, record.signal) for read in (read_record, ecgmtl.read))


def test_a_text_that_leads_to_nothing_is_refused_like_a_path(tmp_path):
    assert refusal(f"{tmp_path}/a.hea") == refusal(tmp_path / "a.hea")


def test_every_reader_takes_the_names_that_the_user_gives_to_leads(tmp_path):
    leads = ("left arm", *STANDARD_LEADS[1:])
    for path in write_all_formats(tmp_path, leads):
        assert read_record(path).leads == leads
        renamed = read_record(path, ReadOptions(leads=("left arm=I",)))
        assert renamed.leads == STANDARD_LEADS
        assert np.allclose(renamed.signal, beats(), atol=1e-3)


def test_every_reader_refuses_a_name_whose_unit_contradicts_the_file(tmp_path):
    for path in write_all_formats(tmp_path, ("I [\u00b5V]", *STANDARD_LEADS[1:])):
        assert "is in uV by its name, but the file states mV" in refusal(path)
        assert read_record(path, ReadOptions(unit="uV")).signal.max() < 0.01


@pytest.mark.parametrize("error", [SystemError("line 1\nline 2"), MemoryError(), RecursionError(), SyntaxError("x")])
def test_whatever_a_reader_raises_is_the_file_s_own_failure(tmp_path, monkeypatch, error):
    def read(path, options):
        raise error

    monkeypatch.setitem(READERS, ".csv", read)
    assert refusal(tmp_path / "a.csv").startswith("a.csv cannot be read: it ")
    assert "line 1" not in refusal(tmp_path / "a.csv")


def mutate(content, rng):
    """A few bytes changed, left out or put in, mostly near the beginning, where formats say what they hold."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(min(len(changed), 200) if rng.random() < 0.8 else len(changed)))
        piece = (bytes(rng.integers(0, 256, 4, np.uint8)), b"{", b"(12", b"'", b"9" * 20, b"\0", b";", b"", b"\xff" * 4)
        changed[place : place + int(rng.integers(5))] = piece[rng.integers(len(piece))]
    return bytes(changed)


def mutate_member(content, rng):
    """The archive with one array damaged, and checksums that fit the damage."""
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer := io.BytesIO(), "w") as new:
        victim = old.namelist()[rng.integers(4)]
        for name in old.namelist():
            new.writestr(name, mutate(old.read(name), rng) if name == victim else old.read(name))
    return buffer.getvalue()


def test_no_damage_to_a_file_ends_more_than_its_own_reading(tmp_path, rng):
    refusals = []
    whole = {path: path.read_bytes() for path in write_all_formats(tmp_path, STANDARD_LEADS)}
    whole[tmp_path / "00001_lr.dat"] = (tmp_path / "00001_lr.dat").read_bytes()
    for path, content in whole.items():
        for attempt in range(20):
            damage = mutate_member if path.suffix == ".npz" and attempt % 2 else mutate
            path.write_bytes(damage(content, rng))
            try:
                read_record(path, ReadOptions(seconds=10))
            except RecordError as error:
                refusals.append(str(error))
        path.write_bytes(content)
    assert len(refusals) > 40
    assert not [message for message in refusals if "\n" in message or "allow_pickle" in message]


def test_the_user_s_own_interruption_is_no_failure_of_a_file(tmp_path, monkeypatch):
    def read(path, options):
        raise KeyboardInterrupt

    monkeypatch.setitem(READERS, ".csv", read)
    with pytest.raises(KeyboardInterrupt):
        read_record(tmp_path / "a.csv")


def test_a_folder_gives_each_record_once_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    for folder, name in ((tmp_path, "b"), (tmp_path, "a"), (tmp_path / "sub", "c")):
        write_wfdb(folder, name=name)
    np.savez(tmp_path / "d.npz")
    for table in ("ptbxl_database.csv", "notes.txt", "RECORDS"):
        write(tmp_path / table, "")
    found = [str(path.relative_to(tmp_path)) for path in find_records([tmp_path])]
    assert found == ["a.hea", "b.hea", "d.npz", "sub/c.hea"]


def test_files_patterns_and_bare_names_are_found_once(tmp_path):
    header = write_wfdb(tmp_path)
    named = [header, header.with_suffix(".dat"), header.with_suffix(""), str(tmp_path / "*.dat"), str(tmp_path / "*.x")]
    assert list(find_records(named)) == [header, tmp_path / "*.x"]
    assert list(find_records([tmp_path, header, str(tmp_path / "**")])) == [header]


def test_what_is_missing_is_passed_on_for_reading_to_refuse(tmp_path):
    missing = tmp_path / "missing.npz"
    assert list(find_records([missing])) == [missing]
    assert list(find_records([tmp_path])) == []


def test_links_that_lead_back_do_not_trap_the_search(tmp_path):
    write_wfdb(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(find_records([tmp_path]))) == 1


def test_a_search_begins_to_answer_before_it_ends(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        write_wfdb(tmp_path / name, beats(10))
    search = find_records([tmp_path])
    assert next(search).parent.name == "a"
    (tmp_path / "c" / "00001_lr.hea").unlink()
    assert [path.parent.name for path in search] == ["b"]


METADATA = {
    "metadata.csv": "file;age;sex;site\ngood;63;F;Ulm\n",
    "patients.csv": "id,birth year,note\n7,1960,fasting\n",
    "numbers.csv": "id,age,weight\n7,63,80\n8,41,71\n9,50,62\n",
    "predictions.csv": "path,status,message,p_MI,calibrated_MI,decision_MI,warnings\ngood.hea,ok,,0.1,0.1,0,\n",
    "labels.csv": "record,patient_id,AF\ngood,7,1\n",
}


@pytest.fixture
def mixed(tmp_path):
    """Two ECGs among tables about them, ECGs of kinds that are not read, and notes."""
    write_wfdb(tmp_path, name="good")
    for name, text in METADATA.items():
        write(tmp_path / name, text)
    write(tmp_path / "ecg.csv", "# fs=100 unit=mV\nI,II\n0.1,0.2\n")
    write(tmp_path / "columns.txt", "I,II\n0.1,0.2\n")
    for name in ("aecg.xml", "ecg.ecg3", "alone.dat"):
        (tmp_path / name).write_bytes(b"ECG")
    write(tmp_path / "good.xml", muse(muse_waveform(beats())))
    write(tmp_path / "vendor's export", muse(muse_waveform(beats())))
    write(tmp_path / "numbers.txt", "0.1 0.2\n0.1 0.2\n")
    for name in ("README.md", "notes.txt", "good.atr", "LICENSE", ".predictions.csv.7.partial"):
        write(tmp_path / name, "I repeated the second.\n")
    (tmp_path / ".git").mkdir()
    write_wfdb(tmp_path / ".git")
    np.savez(tmp_path / "probabilities.npz", label_names=["MI"], probabilities=[[0.1]])
    return tmp_path


def test_every_file_of_a_folder_is_accounted_for(mixed):
    files = list(find_files([mixed]))
    assert [path.name for path in files if not isinstance(path, OtherFile)] == [
        "columns.txt",
        "ecg.csv",
        "good.hea",
        "good.xml",
        "vendor's export",
    ]
    by_kind = {
        kind: {other.path.name for other in files if isinstance(other, OtherFile) and other.kind is kind}
        for kind in OtherFileKind
    }
    assert by_kind == {
        OtherFileKind.NO_READER: {"aecg.xml", "ecg.ecg3", "alone.dat", "numbers.txt"},
        OtherFileKind.TABLE: {*METADATA, "probabilities.npz"},
        OtherFileKind.OTHER: {"README.md", "notes.txt", "LICENSE"},  # good.atr belongs to good.hea
    }


def test_files_that_are_not_read_are_counted_and_named_by_kind(mixed):
    others = [other for other in find_files([mixed]) if isinstance(other, OtherFile)]
    assert summarize(others) == [
        "not read: 4 without a reader (1 .xml, 1 .dat, 1 .ecg3, 1 .txt): aecg.xml, alone.dat, ecg.ecg3, numbers.txt",
        "not read: 6 tables about records: "
        "labels.csv, metadata.csv, numbers.csv, patients.csv, predictions.csv and 1 more",
        "not read: 3 other files (1 no ending, 1 .md, 1 .txt): LICENSE, README.md, notes.txt",
    ]


@pytest.mark.parametrize("name", [name for name in METADATA if name != "labels.csv"])
def test_a_table_that_is_named_itself_is_refused_by_the_true_reason(mixed, name):
    assert list(find_records([mixed / name])) == [mixed / name]
    reason = refusal(mixed / name)
    assert reason.startswith(f"{name} is not an ECG: it ")
    assert "Ulm" not in reason


@pytest.mark.parametrize(
    "text",
    [
        "no ECG",
        "0.1,0.2\n0.1,0.3\n",
        "# fs=100\nage,sex\n1,2\n",
        "ch1;ch2\n0,1;-0,2\n-0,1;0,2\n0,0;0,0\n",
        "ch1,ECG I [mV]\nx,y\n",
    ],
)
def test_a_table_that_may_be_an_ecg_is_read_and_told_to_be_wrong(tmp_path, text):
    path = write(tmp_path / "a.csv", text)
    assert list(find_records([tmp_path])) == [path]
    assert "no ECG: it" not in refusal(path)


def test_a_table_without_lead_names_is_an_ecg_once_the_user_names_its_columns(tmp_path):
    path = write(tmp_path / "a.csv", "foo,bar\nx,y\n")
    assert list(find_files([tmp_path])) == [OtherFile(path, OtherFileKind.TABLE)]
    assert list(find_files([tmp_path], ReadOptions(leads=("foo=V1",)))) == [path]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("separator", ["", ",", ";", "\t", "|", " "])
def test_a_folder_reads_the_tables_that_are_read_by_name(tmp_path, encoding, separator):
    mark = separator or "^"
    rows = [mark.join(row) for row in (STANDARD_LEADS, *[["0.1"] * 12] * 300)]
    text = "\n".join([*([] if separator else ["sep=^"]), "# fs=100 unit=µV", *rows, ""])
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_record(tmp_path / "a.csv").signal.shape == (300, 12)
    assert list(find_files([tmp_path])) == [tmp_path / "a.csv"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_table_about_records_is_known_in_every_encoding(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(METADATA["metadata.csv"].encode(encoding))
    assert list(find_files([tmp_path])) == [OtherFile(tmp_path / "a.csv", OtherFileKind.TABLE)]


def test_the_output_is_no_input_and_samples_under_another_name_belong_to_their_header(tmp_path):
    header = write_wfdb(tmp_path)
    write(header, header.read_text().replace(f"{header.stem}.dat", "other.dat"))
    header.with_suffix(".dat").rename(tmp_path / "other.dat")
    out = write(tmp_path / "p.csv", "I,II\n0.1,0.2\n")
    assert list(find_files([tmp_path, out], leave_out=[tmp_path / "." / "p.csv"])) == [header]
