"""MATLAB files are read as SciPy writes them: the one recording in them, and what they state of it."""

import csv
import random
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from typer.testing import CliRunner

from data_prep import Preprocess, ReadOptions, RecordError, find_records, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import find_files
from data_prep.readers.mat import recognizes
from data_prep.readers.mat_variables import MAX_BYTES, MAX_VARIABLES
from data_prep.readers.other_files import OtherFile, OtherFileKind
from data_prep.store.open import open_store
from data_prep.store.prepare import prepare
from ecgmtl.cli import app
from tests.fuzz.mutants import damage
from tests.wfdb_files import beats, write_wfdb

OPTIONS = ReadOptions(fs=500, unit="mV", leads=STANDARD_LEADS)
HEADER = b"MATLAB 5.0 MAT-file, by hand".ljust(124) + b"\x00\x01IM"


def cells(texts):
    array = np.empty((1, len(texts)), object)
    array[0] = list(texts)
    return array


FACTS = {"fs": 100.0, "unit": "mV", "leads": cells(STANDARD_LEADS)}


def save(path, variables, **options):
    scipy.io.savemat(path, variables, **options)
    return path


def cpsc(folder, signal, name="A0001", **options):
    """A file as of CPSC 2018, whose signal has 500 Hz."""
    struct = {"sex": "Female", "age": 60.0, "data": signal.T.astype(np.float64)}
    return save(folder / f"{name}.mat", {"ECG": struct}, **options)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def packed(content):
    content = zlib.compress(content)
    return struct.pack("<II", 15, len(content)) + content


def matrix(kind, shape, body=b"", name=b"x"):
    """A matrix of level 5 that may state anything."""
    flags, dimensions = struct.pack("<II", kind, 0), struct.pack(f"<{len(shape)}i", *shape)
    return element(14, element(6, flags) + element(5, dimensions) + element(1, name) + body)


def write(path, content):
    path.write_bytes(content)
    return path


def refusal(path, options=OPTIONS):
    with pytest.raises(RecordError) as caught:
        read_record(path, options)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_struct_without_facts_is_read_with_the_options(tmp_path, compressed):
    path = cpsc(tmp_path, beats(), do_compression=compressed)
    record = read_record(path, OPTIONS)
    assert np.array_equal(record.signal, beats())
    assert (record.name, record.fs, record.leads, record.unit) == ("A0001", 500, STANDARD_LEADS, "mV")
    assert list(find_records([tmp_path])) == list(find_records([path])) == [path]


@pytest.mark.parametrize("missing", ["fs", "unit", "leads"])
def test_the_message_names_the_options_that_are_missing(tmp_path, missing):
    given = {"fs": 500, "unit": "mV", "leads": STANDARD_LEADS}
    message = refusal(cpsc(tmp_path, beats()), ReadOptions(**given | {missing: None}))
    assert message.startswith("A0001.mat does not state: ")
    assert {option for option in given if f"pass --{option}" in message} == {missing}


@pytest.mark.parametrize("level", ["4", "5"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i2", "<i4", "<u2"])
def test_the_longer_axis_is_time_in_either_orientation(tmp_path, level, turned, dtype):
    values = np.round(beats() * 1000 + (5000 if dtype == "<u2" else 0)).astype(dtype)
    path = save(tmp_path / "a.mat", {"val": values.T if turned else values}, format=level)
    record = read_record(path, ReadOptions(fs=100, unit="uV", leads=STANDARD_LEADS))
    assert np.array_equal(record.signal, (values.astype(np.float64) * 0.001).astype(np.float32))
    assert np.array_equal(np.sort(scipy.io.loadmat(path)["val"], axis=None), np.sort(values, axis=None))


@pytest.mark.parametrize("level", ["4", "5"])
@pytest.mark.parametrize(
    ("facts", "unit"),
    [
        (FACTS, "mV"),
        ({"samplingRate": 100, "units": "\u00b5V", "lead_names": np.array(STANDARD_LEADS)}, "uV"),
        ({"Fs": "100 Hz", "Unit": "microvolts", "x": np.array(STANDARD_LEADS)}, "uV"),
        ({"freq": 100, "channels": np.array([f"{lead} [mV]" for lead in STANDARD_LEADS])}, "mV"),
    ],
)
def test_facts_are_taken_from_the_file(tmp_path, level, facts, unit):
    signal = beats() * (1000 if unit == "uV" else 1)
    if level == "4":
        facts = {key: np.array(value[0].tolist()) if key == "leads" else value for key, value in facts.items()}
        facts = {key: value for key, value in facts.items() if "\u00b5" not in str(value)} | {"Unit": unit}
    files = [save(tmp_path / "a.mat", {"sig": signal, **facts}, format=level)]
    if level == "5":
        files.append(save(tmp_path / "b.mat", {"rec": {"sig": signal, **facts}}, do_compression=True))
        files.append(save(tmp_path / "c.mat", {"ECG": {"sig": signal}, **facts}))
        files.append(save(tmp_path / "d.mat", {"sig": signal, "info": facts}))
    for path in files:
        record = read_record(path)
        assert np.allclose(record.signal, beats(), atol=1e-6)
        assert (record.fs, record.unit) == (100, unit)
        assert [lead.split()[0] for lead in record.leads] == list(STANDARD_LEADS)


def test_options_replace_the_unit_and_name_leads_but_not_the_rate(tmp_path):
    names = cells(["left arm", *STANDARD_LEADS[1:]])
    path = save(tmp_path / "a.mat", {"sig": beats() * 1000, **FACTS, "leads": names})
    record = read_record(path, ReadOptions(fs=500, unit="uV", leads=("left arm=I",)))
    assert np.allclose(record.signal, beats(), atol=1e-6)
    assert (record.fs, record.leads) == (100, STANDARD_LEADS)
    assert [remark.code for remark in record.remarks] == ["rate-not-used"]


def test_big_endian_files_are_read(tmp_path):
    little = save(tmp_path / "a.mat", {"val": beats().astype(">f8")}, format="4").read_bytes()
    swapped = struct.pack(">5I", 1000, *struct.unpack_from("<4I", little, 4)) + little[20:24]
    values = np.frombuffer(little[24:], "<f8").astype(">f8").tobytes()
    assert np.array_equal(read_record(write(tmp_path / "b.mat", swapped + values), OPTIONS).signal, beats())
    words = struct.pack(">IIIIIIiiII", 6, 8, 6, 0, 5, 8, 1000, 12, 1, 0) + struct.pack(">II", 9, len(values)) + values
    level_5 = HEADER[:124] + b"\x01\x00MI" + struct.pack(">II", 14, len(words) + 8)
    content = level_5 + words.replace(struct.pack(">II", 1, 0), struct.pack(">II4s4x", 1, 3, b"sig"), 1)
    assert np.array_equal(read_record(write(tmp_path / "c.mat", content), OPTIONS).signal, beats())


def test_samples_beside_a_header_are_read_as_wfdb_and_without_it_not_guessed_at(tmp_path):
    header, digital = write_wfdb(tmp_path), np.round(beats() * 1000).astype(np.int16)
    save(tmp_path / "00001_lr.mat", {"val": digital.T}, format="4")
    header.write_text(header.read_text().replace("00001_lr.dat 16 ", "00001_lr.mat 16+24 "))
    (tmp_path / "00001_lr.dat").unlink()
    assert list(find_files([tmp_path])) == list(find_records([tmp_path / "00001_lr.mat"])) == [header]
    assert np.allclose(read_record(tmp_path / "00001_lr.mat").signal, beats(), atol=1e-6)
    header.unlink()
    assert "A WFDB record needs its header beside it." in refusal(tmp_path / "00001_lr.mat", ReadOptions())
    record = read_record(tmp_path / "00001_lr.mat", ReadOptions(fs=100, unit="uV", leads=STANDARD_LEADS))
    assert np.allclose(record.signal, beats(), atol=1e-6)


def test_times_marks_and_other_variables_are_left_out(tmp_path):
    others = {"t": np.arange(1000) / 100, "peaks": np.arange(5), "flag": True, "note": "x", "codes": np.eye(12)}
    path = save(tmp_path / "a.mat", {"sig": beats(), **FACTS, **others, "hrv": {"lf": 1.0, "nn": np.arange(999.0)}})
    assert np.array_equal(read_record(path).signal, beats())
    single = save(tmp_path / "b.mat", {"sig": beats()[:, :1], "fs": 100, "unit": "mV", "leads": "II", "name": "I"})
    assert read_record(single).leads == ("II",)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"ecg": beats(), "raw": beats().T}, "may be the recording: 'ecg' (1000 x 12); 'raw' (12 x 1000)"),
        ({"x": {"data": beats()}, "y": {"data": beats()}}, "'x.data' (1000 x 12); 'y.data' (1000 x 12); save each"),
        ({"Doe": beats(), "ecg": beats()}, "variable 1 (1000 x 12); 'ecg' (1000 x 12)"),
        ({"data": np.zeros((7, 12, 500))}, "found 'data' (7 x 12 x 500), an array of numbers"),
        ({"data": np.zeros((7, 12, 500)), "ecg": beats()}, "2 arrays that may be the recording: '"),
        ({"data": cells([beats(), beats()])}, "found 'data' (1 x 2), a cell array"),
        ({"data": beats() * 1j}, "found 'data' (1000 x 12), a complex array"),
        ({"data": scipy.sparse.csc_array(beats())}, "found 'data' (1000 x 12), a sparse array"),
        ({"ecg": {"raw": {"data": beats()}}}, "found 'ecg.raw' (1 x 1), a struct in a struct"),
        ({"data": np.zeros(2, [("ecg", object)])}, "found 'data' (1 x 2), an array of structs"),
        ({"data": beats(), "fs": 100, "Fs": 500}, "several sampling rates: 'fs' of 100 Hz; 'Fs' of 500 Hz"),
        ({"ecg": {"data": beats(), "fs": 100}, "freq": 500}, "several sampling rates: 'freq' of 500 Hz; 'ecg.fs' of"),
        ({"data": beats(), "fs": 0}, "'fs' should be a number of hertz above 0"),
        ({"data": beats(), "fs": "fast"}, "'fs' should be a number of hertz above 0"),
        ({"data": beats(), "unit": "mV", "units": "uV"}, "states several units"),
        ({"data": beats(), "unit": cells(["mV", "uV"])}, "states 2 units for 12 leads"),
        ({"data": beats(), "unit": "furlong"}, "lead I has a stated unit that is not one of"),
        ({"data": beats(), "leads": cells(STANDARD_LEADS), "x": cells(STANDARD_LEADS[::-1])}, "leads in several ways"),
        ({"data": beats()[:, :8]}, "holds 8 leads, but 12 names are given"),
        ({"note": "x", "fs": 500, "y": np.eye(50)}, "is not an ECG: it holds no array of 1 to 40 leads"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_or_no_signal_is_named(tmp_path, variables, reason):
    path = save(tmp_path / "a.mat", variables)
    given = ReadOptions(fs=100, leads=STANDARD_LEADS, unit=None if any("unit" in key for key in variables) else "mV")
    message = refusal(path, given)
    assert reason in message
    assert "Doe" not in message


def test_an_empty_variable_of_level_4_is_left_out(tmp_path):
    path = save(tmp_path / "a.mat", {"sig": beats(), "note": np.zeros((0, 0)), "fs": 100}, format="4")
    assert np.array_equal(read_record(path, OPTIONS).signal, beats())


def test_a_search_goes_on_where_a_file_needs_more_memory_than_there_is(tmp_path, monkeypatch):
    def raise_error(path):
        raise MemoryError

    path = save(tmp_path / "a.mat", {"sig": beats()})
    monkeypatch.setattr("data_prep.readers.mat.list_variables", raise_error)
    assert list(find_files([tmp_path])) == [path]


def test_objects_are_refused_and_the_workspace_of_functions_is_left_out(tmp_path):
    function = element(14, element(6, struct.pack("<II", 16, 0)))
    assert "object or function handle" in refusal(write(tmp_path / "a.mat", HEADER + function))
    workspace = matrix(9, (1, 4000), element(2, bytes(4000)), b"")
    sound = save(tmp_path / "b.mat", {"sig": beats()}).read_bytes()
    assert np.array_equal(read_record(write(tmp_path / "b.mat", sound + workspace), OPTIONS).signal, beats())


def test_a_file_without_a_recording_is_no_ecg_of_a_folder(tmp_path):
    path = save(tmp_path / "a.mat", {"age": 60, "codes": np.eye(12)})
    assert list(find_files([tmp_path])) == [OtherFile(path, OtherFileKind.TABLE)]


def test_a_file_of_matlab_7_3_is_refused_by_name(tmp_path):
    content = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"
    path = write(tmp_path / "a.mat", content)
    assert refusal(path).startswith(
        "a.mat is a MATLAB 7.3 file, which is not supported; save it with save(file, '-v7')"
    )
    assert list(find_records([tmp_path])) == [path]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"MATLAB",
        bytes(500),
        struct.pack("<5I", 30, 12, 5000, 0, 0) + bytes(100),
        struct.pack("<5I", 30, 12, 5000, 0, 4) + b"1al\0" + bytes(100),
        struct.pack("<5I", 30, 12, 5000, 2, 4) + b"val\0" + bytes(100),
        struct.pack("<5I", 30, 0, 5000, 0, 4) + b"val\0" + bytes(100),
        struct.pack("<5I", 90, 12, 5000, 0, 4) + b"val\0" + bytes(100),
        np.arange(100, dtype="<i2").tobytes(),
    ],
)
def test_other_content_is_not_taken_for_matlab(head):
    assert not recognizes(head)


@pytest.mark.parametrize(("level", "compressed"), [("4", False), ("5", False), ("5", True)])
def test_a_damaged_file_is_refused_with_a_sentence(tmp_path, level, compressed):
    variables = {"sig": beats(300), "fs": 100, "unit": "mV", "leads": np.array(STANDARD_LEADS)}
    variables |= {} if level == "4" else {"ECG": {"fs": 100, "leads": cells(STANDARD_LEADS)}}
    path = save(tmp_path / "a.mat", variables, format=level, do_compression=compressed)
    content, chance = path.read_bytes(), random.Random(0)
    assert np.array_equal(read_record(path).signal, beats(300))
    for size in [*range(0, 400, 9), *range(400, len(content), 501), len(content) - 1]:
        path.write_bytes(content[:size])
        refusal(path, ReadOptions())
    for _ in range(300):
        path.write_bytes(damage(content, chance))
        with suppress(RecordError):
            read_record(path)
    for at in range(0, min(len(content), 1500), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with suppress(RecordError):
            read_record(path)


def test_a_changed_byte_of_a_compressed_signal_is_noticed(tmp_path):
    path = save(tmp_path / "a.mat", {"sig": beats(), **FACTS}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    assert refusal(write(path, content)) == "a.mat is not a valid MATLAB file; it is damaged or cut off."


def test_a_small_file_that_unpacks_to_a_large_one_takes_little_memory(tmp_path):
    """Zeros behind the signal, a signal of more values than are read, and a variable that is not used."""
    signal = matrix(9, (12, 1000), element(2, bytes(12_000)))
    more = write(tmp_path / "b.mat", HEADER + packed(signal + bytes(50_000_000)))
    stated = struct.pack("<II", 14, MAX_BYTES + 1) + matrix(9, (12, 10**7), name=b"sig")[8:] + bytes(50_000_000)
    large = write(tmp_path / "c.mat", HEADER + packed(stated))
    unused = packed(matrix(9, (7000, 7000), element(2, bytes(49_000_000))))
    sound = save(tmp_path / "a.mat", {"sig": beats(), **FACTS}).read_bytes()
    beside = write(tmp_path / "d.mat", sound + unused)
    del stated, unused
    tracemalloc.start()
    assert "damaged or cut off" in refusal(more)
    assert f"'sig' takes {MAX_BYTES + 9} bytes, more than {MAX_BYTES}" in refusal(large)
    assert np.array_equal(read_record(beside).signal, beats())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


@pytest.mark.parametrize(
    "content",
    [
        matrix(1, (2**31 - 1, 2**31 - 1), name=b"leads"),
        matrix(4, (12, 2**31 - 1), element(16, b"x"), b"leads"),
        matrix(2, (1, 1), element(5, struct.pack("<i", 1)) + element(1, b"a" * 5000), b"s"),
        matrix(6, (1, 1), b"", b"fs"),
        matrix(6, (-1, 5)),
        matrix(6, (1,)),
        b"".join(matrix(1, (1, 1)) for _ in range(MAX_VARIABLES + 1)),
    ],
)
def test_a_variable_that_states_too_much_is_refused(tmp_path, content):
    sound = save(tmp_path / "a.mat", {"sig": beats(), "fs": 100}).read_bytes()
    refusal(write(tmp_path / "a.mat", sound + content), ReadOptions(fs=100, unit="mV", leads=None))


def test_cells_within_cells_are_not_followed(tmp_path):
    """Nested so deep, they end SciPy's process."""
    content = matrix(6, (1, 1), element(9, struct.pack("<d", 1)))
    header = matrix(1, (1, 1))[8:]
    size = len(content) + 20_000 * (len(header) + 8)
    nested = b"".join(struct.pack("<II", 14, size - 8 - n * (len(header) + 8)) + header for n in range(20_000))
    assert "found 'x' (1 x 1), a cell array" in refusal(write(tmp_path / "a.mat", HEADER + nested + content))


def test_a_long_recording_is_read_no_further_than_it_is_used(tmp_path, monkeypatch):
    path = save(tmp_path / "a.mat", {"sig": beats(3000).T, **FACTS})
    monkeypatch.setattr("data_prep.readers.options.WHOLE", 2999)
    record = read_record(path, ReadOptions(seconds=10))
    assert np.array_equal(record.signal, beats(1000))
    assert record.seconds == 30


def test_a_file_is_predicted_prepared_and_converted_as_its_wfdb_original(tmp_path):
    for name in ("mat", "wfdb"):
        (tmp_path / name).mkdir()
    signal = np.round(beats(5000, 500), 3)
    cpsc(tmp_path / "mat", signal, "a", do_compression=True)
    write_wfdb(tmp_path / "wfdb", signal, fs="500", name="a")
    facts = ["--fs", "500", "--unit", "mV", "--leads", ",".join(STANDARD_LEADS)]
    rows = []
    for name, options in (("mat", facts), ("wfdb", [])):
        out = tmp_path / f"{name}.csv"
        done = CliRunner().invoke(app, ["predict", str(tmp_path / name), *options, "--out", str(out)])
        assert done.exit_code == 0, done.output
        with out.open() as file:
            rows.append([{key: row[key] for key in row if key != "path"} for row in csv.DictReader(file)])
        (tmp_path / name / "labels.csv").write_text("record,AF\na,1\n")
        read = OPTIONS if options else ReadOptions()
        prepare(tmp_path / name, tmp_path / f"{name}-store", Preprocess(), workers=1, options=read)
    assert rows[0] == rows[1]
    assert np.array_equal(*(open_store(tmp_path / f"{name}-store").signals for name in ("mat", "wfdb")))
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "mat"), str(tmp_path / "converted"), *facts])
    assert done.exit_code == 0, done.output
    assert np.allclose(read_record(tmp_path / "converted" / "a.hea").signal, signal, atol=1e-3)
