"""WFDB records that are damaged, hostile or odd: refused with a reason, or read right; never read wrong in silence."""

import os
import time
import tracemalloc

import numpy as np
import pytest

from data_prep import Preprocess, ReadOptions, RecordError, find_records, read_record
from tests.fuzz.mutants import damage_header
from tests.refusals import refusal
from tests.wfdb_files import beats, edit, two_files, write_wfdb

PREPROCESS = Preprocess()


@pytest.mark.parametrize("arrange", [lambda header: header, two_files], ids=["one file", "two files"])
def test_no_damaged_header_is_read_without_an_error_or_a_warning(tmp_path, rng, arrange):
    header = arrange(write_wfdb(tmp_path))
    content, truth = header.read_bytes(), PREPROCESS(read_record(header))
    accepted = 0
    for _ in range(400):
        mutant = damage_header(content, rng)
        header.write_bytes(mutant)
        try:
            found = PREPROCESS(read_record(header))
        except RecordError:
            continue
        accepted += 1
        same = np.allclose(found.signal, truth.signal, atol=1e-6)
        assert same or found.findings != truth.findings, mutant
    assert 0 < accepted < 200


def test_every_length_but_the_promised_one_is_refused(tmp_path):
    header = write_wfdb(tmp_path)
    content = header.with_suffix(".dat").read_bytes()
    for size in [*range(0, len(content), 499), len(content) - 1]:
        header.with_suffix(".dat").write_bytes(content[:size])
        assert f"00001_lr.dat holds {size} bytes, the header 00001_lr.hea promises 24000" in refusal(header)
    header.with_suffix(".dat").write_bytes(content * 2)
    assert "too long" in refusal(header)


def test_every_flipped_bit_of_the_samples_is_noticed(tmp_path, rng):
    header = write_wfdb(tmp_path)
    content = header.with_suffix(".dat").read_bytes()
    for position in rng.integers(len(content) * 8, size=50):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        header.with_suffix(".dat").write_bytes(flipped)
        assert "checksum of lead" in refusal(header) or "begins with" in refusal(header)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("1000.0(0)", "0", "0 means uncalibrated in WFDB"),
        ("1000.0(0)", "-1000", "the gain of lead I is -1000 per mV"),
        ("1000.0(0)", "nan", "the gain of lead I is not a number"),
        ("1000.0(0)", "1_000", "the gain of lead I is not a number"),
        ("1000.0(0)", "1e-300", "the gain of lead I is 1e-300"),
        ("1000.0(0)", "1000.0(99999999999)", "the baseline of lead I, 99999999999, is beyond that of any ECG"),
        ("/mV", "/mmHg", "lead I has a unit that is not one of nV, uV, mV, V"),
        (" 12 100 1000", " 12 100 2000", "00001_lr.dat holds 24000 bytes, the header 00001_lr.hea promises 48000"),
        (" 12 100 1000", " 12 -100 1000", "a sampling rate of -100"),
        (" 12 100 1000", " 12 0 1000", "a sampling rate of 0"),
        (" 12 100 1000", " 12 nan 1000", "a sampling rate that is not a number of hertz"),
        (" 12 100 1000", " 12", "states no sampling rate"),
        (" 12 100 1000", " 13 100 1000", "promises 13 leads, but describes 12"),
        (" 12 100 1000", " 100000 100 1000", "promises 100000 leads, but describes 12"),
        ("00001_lr 12", "00001_lr/2 12", "promises 2 segments, but lists 12"),
        (".dat 16 ", ".dat 212 ", "promises 18000"),
        (".dat 16 ", ".dat 99 ", "stored in format 99"),
        (".dat 16 ", ".dat 160 ", "begins with"),
        (".dat 16 ", ".dat 16:3 ", "skewed by 3 samples"),
        (".dat 16 ", ".dat 16x0 ", "have no samples"),
        (
            "00001_lr.dat",
            "other.dat",
            "00001_lr.hea: the file that it names for the samples of signals 1 to 12 is not there",
        ),
    ],
)
def test_a_header_that_cannot_be_right_is_refused_with_its_reason(tmp_path, old, new, reason):
    assert reason in refusal(edit(write_wfdb(tmp_path), old, new))


def test_a_header_without_gains_is_refused_rather_than_read_at_200_per_mv(tmp_path):
    header = write_wfdb(tmp_path)
    header.write_text("00001_lr 12 100 1000\n" + "00001_lr.dat 16\n" * 12)
    assert "states no gain for signal 1" in refusal(header)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"# only a comment\n", b"\xff\xfe0\x000\x00", bytes(range(256)), b"\0" * 99]
)
def test_a_header_of_nothing_or_nonsense_is_refused(tmp_path, content):
    header = write_wfdb(tmp_path)
    header.write_bytes(content)
    assert refusal(header).startswith("00001_lr.hea")


def test_line_ends_byte_order_marks_and_latin_1_comments_do_no_harm(tmp_path):
    header = write_wfdb(tmp_path)
    plain = read_record(header)
    content = header.read_bytes().replace(b"\n", b"\r\n")
    for odd in (b"\xef\xbb\xbf" + content, content + b"# Diagnose: gro\xdf\r\n", b"\r\n# first\r\n" + content):
        header.write_bytes(odd)
        assert np.array_equal(read_record(header).signal, plain.signal)


@pytest.mark.parametrize(
    "name", ["../secret.dat", "/etc/passwd", "sub/00001_lr.dat", "..", "http://x/y.dat", "a\\b.dat", "-"]
)
def test_samples_anywhere_but_beside_the_header_are_refused(tmp_path, name):
    header = edit(write_wfdb(tmp_path), "00001_lr.dat", name)
    assert "must lie in a file beside the header" in refusal(header)


def test_a_link_out_of_the_folder_is_refused_and_a_linked_folder_is_not(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    real = write_wfdb(outside)
    (tmp_path / "linked").symlink_to(outside)
    assert read_record(tmp_path / "linked" / real.name).fs == 100
    (inside / "00001_lr.hea").write_bytes(real.read_bytes())
    (inside / "00001_lr.dat").symlink_to(real.with_suffix(".dat"))
    assert "is a link out of the folder" in refusal(inside / "00001_lr.hea")
    (inside / "00001_lr.hea").unlink()
    (inside / "00001_lr.hea").symlink_to(real)  # both lead to one folder
    assert read_record(inside / "00001_lr.hea").fs == 100


@pytest.fixture
def annexed(tmp_path):
    """A record as git-annex keeps it: both files are links to contents that lie in .git under other names."""
    header = write_wfdb(tmp_path)
    for path in (header, header.with_suffix(".dat")):
        place = tmp_path / ".git" / "annex" / "objects" / path.suffix[1:] / f"MD5E-s1--0{path.suffix}"
        place.parent.mkdir(parents=True)
        path.rename(place)
        path.symlink_to(place.relative_to(tmp_path))
    return header


def test_links_of_git_annex_are_followed_when_the_user_says_so(annexed, tmp_path):
    assert "pass --follow-links" in refusal(annexed)
    assert np.allclose(read_record(annexed, ReadOptions(follow_links=True)).signal, beats(), atol=6e-4)
    assert list(find_records([tmp_path])) == [annexed]


def test_segments_behind_links_are_followed_when_the_user_says_so(annexed):
    joined = annexed.with_name("joined.hea")
    joined.write_text("joined/1 12 100 1000\n00001_lr 1000\n")
    assert "pass --follow-links" in refusal(joined)
    assert np.allclose(read_record(joined, ReadOptions(follow_links=True)).signal, beats(), atol=6e-4)


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
def test_the_error_names_contents_that_git_annex_has_not_fetched(annexed, suffix):
    path = annexed.with_suffix(suffix)
    path.resolve().unlink()
    assert f"00001_lr{suffix}: its content is not here yet; run 'git annex get 00001_lr{suffix}'" in refusal(annexed)
    path.unlink()
    path.symlink_to("nowhere")
    assert refusal(annexed) == f"00001_lr{suffix}: a link to a file that is not there."


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
@pytest.mark.parametrize(
    ("pointer", "command"),
    [
        (b"/annex/objects/MD5E-s24000--0.dat\n", "git annex get"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 24000\n", "git lfs pull"),
    ],
)
def test_pointers_in_place_of_contents_are_named(tmp_path, suffix, pointer, command):
    header = write_wfdb(tmp_path)
    header.with_suffix(suffix).write_bytes(pointer)
    assert f"00001_lr{suffix} is a pointer" in refusal(header)
    assert command in refusal(header)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("suffix", [".dat", ".hea"])
def test_a_pipe_is_refused_at_once(tmp_path, suffix):
    header = write_wfdb(tmp_path)
    header.with_suffix(suffix).unlink()
    os.mkfifo(header.with_suffix(suffix))
    assert "is a pipe, socket or device" in refusal(header)


def test_a_link_that_leads_back_to_itself_ends_no_search(tmp_path):
    (tmp_path / "x").symlink_to("x")
    (tmp_path / "a.edf").touch()
    assert list(find_records([tmp_path])) == [tmp_path / "a.edf"]


def test_folders_and_missing_files_say_what_they_are(tmp_path):
    header = write_wfdb(tmp_path)
    header.with_suffix(".dat").unlink()
    assert refusal(header).startswith("00001_lr.hea: the file that it names for the samples of signals 1 to 12 is not")
    header.with_suffix(".dat").mkdir()
    assert refusal(header) == "00001_lr.dat is a folder, not a file."
    header.unlink()
    assert "there is no such header" in refusal(header)


@pytest.mark.parametrize("kind", ["16", "212", "16x999999999", "24"])
@pytest.mark.parametrize("n_samples", ["1000000000", "1000000000000", "999999999999999999"])
def test_a_promise_of_too_many_samples_is_refused_before_memory_is_taken(tmp_path, kind, n_samples):
    header = edit(write_wfdb(tmp_path), "100 1000\n", f"100 {n_samples}\n")
    edit(header, ".dat 16 ", f".dat {kind} ")
    tracemalloc.start()
    start = time.perf_counter()
    assert "holds 24000 bytes" in refusal(header)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_one_lead_whose_gain_is_unlike_the_others_is_warned_of(tmp_path):
    header = edit(write_wfdb(tmp_path), "1000.0(0)", "1009.0(0)", count=1)
    sentence = "gain or baseline of lead I differ from those of the other leads; is the header intact?"
    assert read_record(header).remarks == (("other-scale", sentence),)


def test_every_file_of_a_record_is_checked(tmp_path):
    header = two_files(write_wfdb(tmp_path))
    assert np.allclose(read_record(header).signal, beats(), atol=6e-4)
    content = bytearray(header.with_suffix(".xyz").read_bytes())
    content[999] ^= 4
    header.with_suffix(".xyz").write_bytes(content)
    assert "the checksum of lead V6" in refusal(header)
    header.with_suffix(".xyz").write_bytes(content[:-2])
    assert "00001_lr.xyz holds 1998 bytes" in refusal(header)
