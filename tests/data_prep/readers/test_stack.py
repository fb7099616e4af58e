"""Files of many ECGs: each is read as it was put in, one or a few at a time, and a hostile file opens no other."""

import os
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep import ReadOptions, RecordError, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import find_files, hdf5, hdf5_datasets, open_stack, stack
from data_prep.readers.other_files import OtherFile, OtherFileKind

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'ecgmtl[hdf5]'")

from tests.stack_files import CODE_LEADS, FACTS, exams, pieces, write_hdf5  # noqa: E402

ROOT = Path(__file__).parents[3]
OPTIONS = ReadOptions(fs=400, unit="mV", leads=CODE_LEADS)
GZIP = {"compression": "gzip"}


def refusal(path, options=OPTIONS):
    with pytest.raises(RecordError) as caught:
        read_record(path, options)
    return str(caught.value)


def signals(path, options=OPTIONS):
    """All ECGs of a file."""
    with open_stack(path, options) as opened:
        layout = opened.layout(options)
        return [opened.record(index, str(index), layout).signal for index in range(len(opened))]


def assert_holds(path, values, options=OPTIONS, scale=1.0):
    for signal, wanted in zip(signals(path, options), pieces(values), strict=True):
        assert signal.shape == wanted.shape
        assert np.allclose(signal, wanted * scale, atol=5e-4)


def save(path, values, **beside):
    """Write by the suffix: HDF5, .npy or .npz."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, X=values, **beside)
    else:
        write_hdf5(path, values, beside.get("exam_id"))
    return path


@pytest.mark.parametrize("suffix", [".hdf5", ".npy", ".npz"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i2", ">i4"])
def test_each_ecg_is_read_as_it_was_put_in(tmp_path, monkeypatch, suffix, turned, order, dtype):
    monkeypatch.setattr(stack, "BATCH", 2 * 300 * 12 * np.dtype(dtype).itemsize)  # two ECGs
    values = exams(5, 300)
    stored = np.round(values * 1000).astype(dtype) if dtype[1] == "i" else values.astype(dtype)
    path = save(tmp_path / f"a{suffix}", np.array(stored.transpose(0, 2, 1) if turned else stored, order=order))
    options = ReadOptions(fs=400, unit="uV" if dtype[1] == "i" else "mV", leads=CODE_LEADS)
    for signal, wanted in zip(signals(path, options), pieces(values), strict=True):
        assert np.allclose(signal, wanted, atol=5e-4 if dtype != "<f2" else 1e-3)


@pytest.mark.parametrize(
    "packing",
    [
        {"chunks": (1, 1024, 12), **GZIP},
        {"chunks": (2, 100, 5), **GZIP, "shuffle": True, "fletcher32": True},
        {"chunks": (3, 64, 1), "compression": "lzf", "shuffle": True},
        {"chunks": (4, 1024, 12), "fletcher32": True},
        {"chunks": (5, 256, 12), "maxshape": (None, 1024, 12)},
    ],
    ids=str,
)
@pytest.mark.parametrize("n_bytes", [2 * 1024 * 12 * 4, 2**27])
def test_however_hdf5_packs_them_the_values_are_the_same(tmp_path, monkeypatch, packing, n_bytes):
    monkeypatch.setattr(stack, "BATCH", n_bytes)
    values = exams()
    path = write_hdf5(tmp_path / "a.h5", values, **packing)
    assert_holds(path, values)
    with open_stack(path) as opened:
        assert opened.at_a_time == min(packing["chunks"][0], n_bytes // (1024 * 12 * 4), 5)


def test_a_chunk_that_was_never_written_holds_the_fill_value(tmp_path):
    path, values = tmp_path / "a.h5", exams()
    with h5py.File(path, "w") as file:
        file.create_dataset("tracings", values.shape, "<f4", chunks=(1, 1024, 12), fillvalue=0.5, **GZIP)[:4] = values[
            :4
        ]
    assert np.array_equal(signals(path)[4], np.full((1024, 12), 0.5))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_an_archive_states_its_facts_beside_the_array(tmp_path, write):
    values = exams()
    path = tmp_path / "a.npz"
    write(
        path,
        y=[1, 0, 0, 1, 1],
        X=values * 1000,
        fs=400,
        unit="uV",
        leads=STANDARD_LEADS,
        ids=[b"a", b"b", b"c", b"d", b"e"],
    )
    assert_holds(path, values, ReadOptions())
    with open_stack(path) as opened:
        assert opened.ids == ("a", "b", "c", "d", "e")


def test_attributes_state_the_facts_of_an_hdf5_file_and_options_replace_the_unit(tmp_path):
    values = exams()
    path = write_hdf5(tmp_path / "a.h5", values, facts=FACTS)
    assert_holds(path, values, ReadOptions())
    assert_holds(path, values, ReadOptions(unit="uV"), 1e-3)


@pytest.mark.parametrize("suffix", [".hdf5", ".npy", ".npz"])
def test_a_single_ecg_is_read_as_a_record_and_several_are_refused(tmp_path, suffix):
    values = exams(7)
    one = save(tmp_path / f"one{suffix}", values[:1])
    assert np.array_equal(read_record(one, OPTIONS).signal, pieces(values)[0])
    assert read_record(one, OPTIONS).name == "one"
    many = save(tmp_path / f"many ecgs{suffix}", values)
    assert refusal(many, ReadOptions(unit="uV")) == (
        f"many ecgs{suffix} is an array of 7 ECGs (7 x 1024 x 12), not a single one; write each as a record of its "
        f"own: ecgmtl convert 'many ecgs{suffix}' 'many ecgs-wfdb' --fs HERTZ --unit uV --leads NAMES"
    )
    assert list(find_files([tmp_path])) == [many, one]


def test_a_single_ecg_with_a_gap_is_read_as_other_records_are(tmp_path):
    values = exams(1)
    values[0, 300, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    assert np.isnan(read_record(tmp_path / "a.npy", OPTIONS).signal).sum() == 1


@pytest.mark.parametrize("missing", ["fs", "unit", "leads"])
@pytest.mark.parametrize("suffix", [".hdf5", ".npy", ".npz"])
def test_what_a_file_does_not_state_is_never_guessed(tmp_path, suffix, missing):
    path = save(tmp_path / f"a{suffix}", exams(1))
    given = {"fs": 400, "unit": "mV", "leads": CODE_LEADS}
    message = refusal(path, ReadOptions(**given | {missing: None}))
    assert {option for option in given if f"pass --{option}" in message} == {missing}


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: save(path, np.zeros((3, 500, 12), bool)), "it holds no array of ECGs"),
        (lambda path: save(path, np.zeros((3, 500, 12), complex)), "it holds no array of ECGs"),
        (lambda path: save(path, np.zeros((3, 120, 120))), "it holds no array of ECGs"),
        (lambda path: save(path, np.zeros((3, 12, 99))), "it holds no array of ECGs"),
        (lambda path: save(path, np.zeros((0, 500, 12))), "holds no ECG: its array has none"),
        (lambda path: save(path, np.zeros((1, 500, 12))), "a.h5, a: all of its values are 0"),
        (lambda path: save(path, np.ones((1, 500, 8))), "ECGs of 8 leads, but 12 names are given"),
        (lambda path: write_hdf5(path, exams(1), facts={"fs": 400, "Fs": 500}), "in several ways"),
        (lambda path: write_hdf5(path, exams(1), facts={"fs": -1}), "as a number of hertz above 0"),
        (lambda path: write_hdf5(path, exams(1), facts={"units": np.bytes_("furlong")}), "not one of nV, uV, mV"),
        (lambda path: write_hdf5(path, exams(1), facts={"units": np.array(["mV"] * 3, "S2")}), "3 units for 12 leads"),
        (lambda path: path.write_bytes(b"ECG"), "damaged, or not a"),
        (lambda path: path.write_bytes(hdf5._SIGNATURE + bytes(500)), "damaged, or not a"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(tmp_path, write, reason):
    write(tmp_path / "a.h5")
    unit = None if "unit" in reason or "nV" in reason else "mV"
    assert reason in refusal(tmp_path / "a.h5", ReadOptions(fs=400, unit=unit, leads=CODE_LEADS))


def test_several_arrays_are_not_chosen_from(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Doe/train"], file["test"] = exams(3), exams(2)
    assert "holds 2 arrays of ECGs (2 x 1024 x 12, 3 x 1024 x 12)" in refusal(tmp_path / "a.h5")
    np.savez(tmp_path / "a.npz", Doe=exams(3), test=exams(2))
    assert "holds 2 arrays of ECGs (3 x 1024 x 12, 2 x 1024 x 12)" in refusal(tmp_path / "a.npz")


def test_a_file_of_other_content_and_a_prepared_folder_are_no_ecgs_of_a_folder(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["weights"] = np.zeros((64, 32))
    np.save(tmp_path / "signals.npy", exams(2).transpose(0, 2, 1))
    (tmp_path / "manifest.json").write_text("{}")
    found = list(find_files([tmp_path]))
    assert [OtherFile(tmp_path / name, OtherFileKind.TABLE) for name in ("model.h5", "signals.npy")] == found[1:]
    assert "it is the signals of a prepared folder" in refusal(tmp_path / "signals.npy")
    (tmp_path / "manifest.json").unlink()
    assert "is an array of 2 ECGs" in refusal(tmp_path / "signals.npy")


def test_without_h5py_the_file_says_what_to_install_and_others_are_read(tmp_path, monkeypatch):
    path = write_hdf5(tmp_path / "a.h5", exams(1))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert refusal(path) == "a.h5: the package h5py is not installed; to install it: pip install 'ecgmtl[hdf5]'"
    assert list(find_files([tmp_path])) == [path]


def virtual(path, other, unlimited):
    """A virtual dataset; one whose length is that of other files has HDF5 open them when it is asked for its shape."""
    shape, most = (3, 1024, 12), (h5py.h5s.UNLIMITED, 1024, 12)
    layout = h5py.VirtualLayout(shape, "f4", maxshape=most if unlimited else None)
    source = h5py.VirtualSource(str(other), "tracings", shape, maxshape=most if unlimited else None)
    layout[: h5py.h5s.UNLIMITED if unlimited else 3] = source[: h5py.h5s.UNLIMITED if unlimited else 3]
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("tracings", layout)


def external_link(path, other):
    with h5py.File(path, "w") as file:
        file["tracings"] = h5py.ExternalLink(str(other), "/tracings")


def external_storage(path, other):
    with h5py.File(path, "w") as file:
        file.create_dataset("tracings", (3, 1024, 12), "f4", external=[(str(other), 0, 3 * 1024 * 12 * 4)])


no_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")


@no_pipes
@pytest.mark.parametrize(
    "write",
    [
        external_link,
        external_storage,
        lambda path, other: virtual(path, other, False),
        lambda path, other: virtual(path, other, True),
    ],
    ids=["link", "storage", "virtual", "unlimited"],
)
def test_no_other_file_is_ever_opened(tmp_path, write):
    other = write_hdf5(tmp_path / "secret.h5", exams(3))
    path = tmp_path / "a.h5"
    write(path, other)
    other.unlink()
    os.mkfifo(other)  # opening it would wait for ever
    assert "refers to arrays in other files, which are never opened" in refusal(path)
    assert list(find_files([path])) == [path]


@no_pipes
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5"])
def test_a_pipe_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    list(find_files([tmp_path]))
    assert refusal(tmp_path / name).startswith(name)


def test_links_within_a_file_that_lead_nowhere_or_back_are_not_followed(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", exams(3))
    with h5py.File(path, "a") as file:
        file["soft"], file["softer"] = h5py.SoftLink("/softer"), h5py.SoftLink("/soft")
        file["group/up"] = file["/"]
        file["group/self"] = file["group"]
    assert_holds(path, exams(3))


def test_a_file_of_more_links_than_are_looked_at_is_searched_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_datasets, "MAX_OBJECTS", 10)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(20):
            file.create_group(f"g{number:02}/x")
        file["tracings"] = exams(1)
    assert "it holds no array of ECGs" in refusal(tmp_path / "a.h5")


def test_a_promise_that_the_file_cannot_hold_is_refused(tmp_path):
    for name, chunks in (("a.h5", None), ("b.h5", (1, 4096, 12)), ("c.h5", (1, 4096, 12))):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset(
                "tracings", (10**9, 4096, 12), "f4", chunks=chunks, compression="gzip" if chunks else None
            )
        assert "promises 1000000000 ECGs" in refusal(tmp_path / name)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("tracings", (2, 2**40, 12), "f4", chunks=(1, 4096, 12))
    assert "samples of 12 leads are promised" in refusal(tmp_path / "d.h5")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((10**6, 5000, 12), "promises 1000000 ECGs"), ((1, 2**40, 12), "samples of 12 leads are promised")],
)
def test_no_reader_makes_a_stack_of_more_than_its_file_can_hold(tmp_path, shape, reason):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    values = SimpleNamespace(shape=shape, dtype=np.dtype("f4"), n_together=1, read=bytes)
    with pytest.raises(RecordError, match=reason):
        stack.Stack(path, values, 2, stack.Facts())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"chunks": (5, 2**12, 12), "shape": (5, 2**12, 12), "dtype": "f8"}, "MAX_CHUNK"),
        ({"chunks": (1, 1, 1), "shape": (1, 2**13, 12), "dtype": "f4"}, "MAX_CHUNKS"),
    ],
)
def test_chunks_that_are_too_large_or_too_many_are_refused(tmp_path, monkeypatch, options, reason):
    monkeypatch.setattr(hdf5_datasets, reason, 2**16)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("tracings", **options)[:] = 1
    assert "too large or too many; store it as one piece" in refusal(tmp_path / "a.h5")


def test_filters_that_are_not_read_are_named(tmp_path):
    """One that is not there, one that states its own size, and deflate twice, which unpacks without a bound."""
    for number in ((305,), (6,), (1, 1)):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 1024, 12))
        for code in number:
            plist.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (4,) if code == 1 else (0,) * 20)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            space = h5py.h5s.create_simple((1, 1024, 12))
            h5py.h5d.create(file.id, b"tracings", h5py.h5t.NATIVE_FLOAT, space, plist).write_direct_chunk(
                (0, 0, 0), b"x"
            )
        assert "compressed by filters other than gzip, lzf and shuffle" in refusal(tmp_path / "a.h5")


def test_objects_and_texts_are_no_values(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("tracings", (3, 1024, 12), h5py.string_dtype())
        file.create_dataset("references", (3, 1024, 12), h5py.ref_dtype)
        file.create_dataset("ragged", (3, 1024, 12), h5py.vlen_dtype(np.float32))
        file.create_dataset("records", (3, 1024, 12), [("I", "f4"), ("II", "f4")])
    assert "it holds no array of ECGs" in refusal(tmp_path / "a.h5")
    np.savez(tmp_path / "a.npz", X=np.full((1, 100, 12), None))
    assert "'signal' must be an array of numbers" in refusal(tmp_path / "a.npz")


@pytest.mark.parametrize("damage", ["short", "long", "bits", "cut"])
def test_a_damaged_chunk_is_the_failure_of_its_ecgs_alone(tmp_path, damage):
    values = exams()
    path = write_hdf5(tmp_path / "a.h5", values, chunks=(2, 1024, 12), **GZIP)
    whole = np.zeros((2, 1024, 12), np.float32).tobytes()
    packed = zlib.compress(whole)
    content = {
        "short": zlib.compress(whole[:-4]),
        "long": zlib.compress(whole + bytes(4)),
        "bits": packed[:50] + b"\xff" + packed[51:],
        "cut": packed[:-5],
    }[damage]
    with h5py.File(path, "a") as file:
        file["tracings"].id.write_direct_chunk((2, 0, 0), content)
    with open_stack(path) as opened:
        layout = opened.layout(OPTIONS)
        for index, wanted in enumerate(pieces(values)):
            if index in (2, 3):
                with pytest.raises(RecordError, match=rf"^a\.h5, {index} is not readable: a\.h5 .*damaged"):
                    opened.record(index, str(index), layout)
            else:
                assert np.array_equal(opened.record(index, str(index), layout).signal, wanted)


def test_a_truncated_file_is_refused(tmp_path, rng):
    for name, packing in (("a.h5", {}), ("b.h5", {"chunks": (1, 1024, 12), **GZIP})):
        path = write_hdf5(tmp_path / name, exams(1), **packing)
        content = path.read_bytes()
        for size in rng.integers(len(content), size=20):
            path.write_bytes(content[:size])
            refusal(path)


MEMORY = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
import h5py
from data_prep import ReadOptions, RecordError
from data_prep.readers import open_stack

options = ReadOptions(fs=400, unit="mV", leads=tuple("I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split()))
before, failed = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
with open_stack(Path(sys.argv[1]), options) as stack:
    layout = stack.layout(options)
    for index in range(len(stack)):
        try:
            stack.record(index, "x", layout)
        except RecordError:
            failed += 1
print(failed, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
@pytest.mark.parametrize("name", ["a.npz", "a.npy", "plain.h5", "packed.h5", "bomb.h5"])
def test_memory_is_bounded_by_a_few_ecgs(tmp_path, rng, name):
    """Each file has 40 ECGs of 2.4 MB. In one of them a chunk of 0.5 MB unpacks to 500 MB."""
    path, values = tmp_path / name, np.zeros((40, 50_000, 12), np.float32)
    values[:, :, :2] = rng.integers(9, size=(50_000, 2))
    if path.suffix == ".h5":
        write_hdf5(path, values, **({} if name == "plain.h5" else {"chunks": (4, 50_000, 12), "compression": 1}))
    else:
        save(path, values)
    if name == "bomb.h5":
        with h5py.File(path, "a") as file:
            file["tracings"].id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(500_000_000), 1))
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    failed, n_bytes = map(int, done.stdout.split())
    assert failed == (4 if name == "bomb.h5" else 0)
    assert n_bytes < 60e6
