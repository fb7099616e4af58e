"""NumPy archives are read as they were saved, and say what they lack."""

import tracemalloc
import zipfile

import numpy as np
import pytest

from data_prep import ReadOptions, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers.npz import NO_CHECKSUM, Member
from tests.refusals import refusal
from tests.wfdb_files import beats


def save(path, **arrays):
    content = {"signal": beats(), "fs": 100, "leads": STANDARD_LEADS, **arrays}
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return path


def test_an_npz_archive_is_read_as_it_was_saved(tmp_path):
    record = read_record(save(tmp_path / "a.npz"))
    assert np.array_equal(record.signal, beats())
    assert (record.name, record.fs, record.leads) == ("a", 100, STANDARD_LEADS)
    microvolts = (beats() * 1000).astype(np.int16)
    assert np.allclose(read_record(save(tmp_path / "b.npz", signal=microvolts, unit="uV")).signal, beats(), atol=1e-3)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"signal": None}, "'signal' must be an array of numbers, (time, lead); found none"),
        ({"signal": beats().T}, "'signal' has 1000 columns for 12 leads. It seems to be transposed: save signal.T."),
        ({"signal": beats()[:, 0]}, "found float32 of shape (1000,)"),
        ({"signal": np.array([[None]])}, "not a readable .npz archive"),
        ({"signal": beats().astype(int)}, "whole numbers need a unit"),
        ({"fs": None}, "states no sampling rate"),
        ({"fs": -1}, "sampling rate of -1"),
        ({"fs": np.nan}, "sampling rate of nan"),
        ({"leads": None}, "names no leads"),
        ({"fs": "fast"}, "sampling rate of text that is not such a number"),
        ({"fs": [100, 100]}, "sampling rate of int64 of shape (2,)"),
        ({"unit": "furlong"}, "lead I has a stated unit that is not one of nV, uV, mV, V"),
        ({"unit": ["mV", "uV"]}, "'unit' has 2 entries for 12 leads"),
        ({"leads": range(12)}, "'leads' must be text"),
        ({"leads": [f"I{n}" for n in range(12)]}, "none of its 12 columns has the name of a lead"),
    ],
)
def test_the_error_for_an_npz_archive_says_what_it_lacks(tmp_path, arrays, reason):
    assert reason in refusal(save(tmp_path / "a.npz", **arrays))


def test_options_fill_in_what_an_npz_archive_does_not_state(tmp_path):
    path = save(tmp_path / "a.npz", fs=None, leads=None)
    assert read_record(path, ReadOptions(fs=250, leads=STANDARD_LEADS)).fs == 250


@pytest.mark.parametrize("fs", ["100", b"100", "100 Hz", [100], np.array(100.0, ">f8"), "0.1 kHz"])
def test_the_sampling_rate_of_an_npz_archive_may_be_text(tmp_path, fs):
    assert read_record(save(tmp_path / "a.npz", fs=fs)).fs == 100


def test_leads_and_units_of_an_npz_archive_may_be_bytes_and_each_column_may_have_a_unit(tmp_path):
    assert read_record(save(tmp_path / "a.npz", leads=np.array(STANDARD_LEADS, "S3"))).leads == STANDARD_LEADS
    big_endian = np.array(STANDARD_LEADS).astype(">U3")
    assert read_record(save(tmp_path / "b.npz", leads=big_endian, unit=b"millivolt")).leads == STANDARD_LEADS
    scaled = beats() * np.where(np.arange(12) < 6, 1000, 1)
    units = ["uV"] * 6 + ["mV"] * 6
    assert np.allclose(read_record(save(tmp_path / "c.npz", signal=scaled, unit=units)).signal, beats(), atol=1e-6)
    named = [f"{lead} [{unit}]" for lead, unit in zip(STANDARD_LEADS, units, strict=True)]
    assert np.allclose(read_record(save(tmp_path / "d.npz", signal=scaled, leads=named)).signal, beats(), atol=1e-6)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i2", ">i4", "<u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_beginning_of_a_long_archive_equals_that_of_the_whole_archive(
    tmp_path, monkeypatch, compressed, dtype, order
):
    whole = (np.arange(36_000).reshape(3000, 12) % 2000).astype(dtype, order=order)
    write, path = np.savez_compressed if compressed else np.savez, tmp_path / "a.npz"
    write(path, signal=whole, fs=100, leads=STANDARD_LEADS, unit="uV")
    record = read_record(path, ReadOptions(seconds=10))
    assert np.array_equal(record.signal, (whole.astype(np.float64) * 0.001).astype(np.float32))
    assert (len(record.signal), record.seconds, record.remarks) == (3000, 30, ())
    monkeypatch.setattr("data_prep.readers.options.WHOLE", 2999)
    beginning = read_record(path, ReadOptions(seconds=10))
    assert np.array_equal(beginning.signal, record.signal[:1000])
    assert (beginning.seconds, beginning.remarks) == (30, (NO_CHECKSUM,))


def test_the_largest_whole_numbers_do_not_overflow(tmp_path):
    signal = np.full((300, 12), np.iinfo(np.int64).max)
    record = read_record(save(tmp_path / "a.npz", signal=signal, unit="V"))
    assert np.allclose(record.signal, 9.223372e21)


@pytest.mark.parametrize(
    ("member", "old", "new", "reason"),
    [
        ("signal", b"12)", b"12 ", "signal.npy has no readable header"),
        ("signal", b"}", b" ", "signal.npy has no readable header"),
        ("signal", b"'<f4'", b"'<f3'", "signal.npy has no readable header"),
        ("signal", b"NUMPY", b"NUMPI", "signal.npy is not an array"),
        ("signal", b"\x01\x00v\x00", b"\x01\x00\xff\xff", "has a header of 65535 bytes"),
        ("signal", b"(1000,", b"( 999,", "holds more than the 11988 values"),
        ("leads", b"I\0\0\0", b"\xff\xff\xff\xff", "holds text that is not valid Unicode"),
    ],
)
def test_damage_to_an_array_s_header_or_text_is_named(tmp_path, member, old, new, reason):
    good, path = save(tmp_path / "good.npz"), tmp_path / "a.npz"
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w") as damaged:
        for name in archive.namelist():
            content = archive.read(name)
            damaged.writestr(name, content.replace(old, new, 1) if name == f"{member}.npy" else content)
    message = refusal(path)
    assert message.startswith("a.npz")
    assert reason in message
    assert "allow_pickle" not in message


def test_a_flipped_bit_in_an_npz_archive_is_noticed(tmp_path):
    path = save(tmp_path / "a.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "a.npz is not a readable .npz archive: it is damaged" in refusal(path)


def test_a_small_archive_that_unpacks_to_a_large_one_takes_little_memory(tmp_path):
    """20 KB that unpack to 19 MB, of which 48 KB are used."""
    path, shape = tmp_path / "a.npz", (400_000, 12)
    save(path, signal=None)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("signal.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(bytes(400_000 * 12 * 4))
    tracemalloc.start()
    record = read_record(path, ReadOptions(seconds=10))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (record.signal.shape, record.seconds) == ((1000, 12), 4000)
    assert peak < 2e6


def test_a_damaged_npz_archive_is_refused(tmp_path, rng):
    path = save(tmp_path / "a.npz")
    content = path.read_bytes()
    for size in rng.integers(len(content), size=20):
        path.write_bytes(content[:size])
        refusal(path)


def test_an_array_that_promises_too_much_is_refused_unread(tmp_path):
    path = tmp_path / "a.npz"
    head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 12), }".ljust(122)
    for count, reason in ((10**8, "promised"), (10**6, "holds fewer")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("signal.npy", (head % count)[:127] + b"\n")
        assert reason in refusal(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_member_is_at_the_right_place_although_another_is_read_between(tmp_path, write):
    write(tmp_path / "a.npz", X=np.arange(20_000), y=np.zeros(9000))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, Member(archive, "X.npy") as member:
        content = archive.read("X.npy")
        for place in (100, 90_000, 300, 0, 200_000):
            archive.read("y.npy")
            assert member.seek(place) == min(place, len(content))
            assert member.read(50) == content[place : place + 50]


def test_a_damaged_member_is_found_although_parts_were_skipped(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.arange(20_000))
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "a.npz").write_bytes(damaged)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, Member(archive, "X.npy") as member:
        member.seek(100_000)
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            member.read(10**6)
