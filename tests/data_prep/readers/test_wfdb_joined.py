"""WFDB records that join others: read as one, with what was not recorded as NaN, and no further than they are used."""

import tracemalloc

import numpy as np
import pytest
import wfdb

from data_prep import Preprocess, ReadOptions, find_records, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.readers.options import WHOLE
from data_prep.readers.wfdb.samples import UNVERIFIED
from tests.refusals import refusal
from tests.wfdb_files import beats, edit, sentences, write_wfdb

CUT = 400


@pytest.fixture
def joined(tmp_path):
    """A record of 10 s that joins one of 4 s and one of 6 s."""
    write_wfdb(tmp_path, beats()[:CUT], name="first")
    write_wfdb(tmp_path, beats()[CUT:], name="second.b")
    header = tmp_path / "joined.hea"
    header.write_text("joined/2 12 100 1000\nfirst 400\nsecond.b 600\n")
    return header


@pytest.fixture
def gapped(tmp_path):
    """A record of 11 s: 4 s of all leads, 1 s of nothing, 6 s without V6 and with the leads in a different order."""
    write_wfdb(tmp_path, beats()[:CUT], name="first")
    order = (*range(10, -1, -1),)
    write_wfdb(tmp_path, beats()[CUT:, order], name="second", leads=tuple(STANDARD_LEADS[index] for index in order))
    lines = "".join(f"~ 0 1000(0)/mV 16 0 0 0 0 {lead}\n" for lead in STANDARD_LEADS)
    (tmp_path / "gapped_layout.hea").write_text(f"gapped_layout 12 100 0\n{lines}")
    header = tmp_path / "gapped.hea"
    header.write_text("gapped/4 12 100 1100\ngapped_layout 0\nfirst 400\n~ 100\nsecond 600\n")
    return header


def test_joined_records_are_read_as_one(joined):
    record = read_record(joined)
    assert np.allclose(record.signal, beats(), atol=6e-4)
    assert (record.name, record.fs, record.leads, record.remarks) == ("joined", 100, STANDARD_LEADS, ())
    assert record.total_seconds is None


def test_what_was_not_recorded_is_not_a_number(gapped):
    record = read_record(gapped)
    truth, fields = wfdb.rdsamp(str(gapped.with_suffix("")))
    assert list(record.leads) == fields["sig_name"]
    assert np.allclose(record.signal, truth, atol=1e-6, equal_nan=True)
    assert np.isnan(record.signal).sum(axis=0).tolist() == [100] * 11 + [700]


def test_segments_are_part_of_their_record_unless_they_are_named(joined, gapped, tmp_path):
    write_wfdb(tmp_path, name="alone")
    assert [path.stem for path in find_records([tmp_path])] == ["alone", "gapped", "joined"]
    assert list(find_records([tmp_path / "first"])) == [tmp_path / "first.hea"]
    assert read_record(tmp_path / "first.hea").seconds == 4
    assert refusal(tmp_path / "gapped_layout.hea").startswith("gapped_layout.hea only lists the signals of a joined")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("first 400", "first 401", "promises 1000 samples, but its segments hold 1001"),
        ("first 400", "frist 400", "joined.hea: the header of its segment 1 is not there"),
        ("first 400", "../first 400", "line 1 of its segments does not name one"),
        ("first 400", "first", "line 1 of its segments does not name one"),
        ("first 400", "joined 400", "joined.hea holds no samples itself, so joined.hea cannot join it"),
        ("joined/2", "joined/3", "promises 3 segments, but lists 2"),
        (
            "12 100 1000\nfirst 400",
            "12 100 1001\nfirst 401",
            "first.hea holds 400 samples at 100 Hz, joined.hea promises",
        ),
        ("12 100", "12 250", "first.hea holds 400 samples at 100 Hz, joined.hea promises 400 at 250 Hz"),
        ("first 400\nsecond.b 600", "~ 400\n~ 600", "nothing was recorded in its first 10 s"),
    ],
)
def test_a_record_that_cannot_be_joined_is_refused_with_its_reason(joined, old, new, reason):
    assert reason in refusal(edit(joined, old, new))


def test_segments_of_other_leads_are_not_joined_without_a_layout(joined):
    edit(joined.with_name("second.b.hea"), " V6", " V7")
    assert "segment second.b has leads I, II" in refusal(joined)


def test_a_damaged_segment_is_named(joined):
    samples = joined.with_name("second.b.dat")
    content = bytearray(samples.read_bytes())
    content[999] ^= 4
    samples.write_bytes(content)
    assert refusal(joined).startswith("second.b.hea: the checksum of lead")


def lengthen(path, n_bytes):
    """Append zeros that take no room on disk."""
    with path.open("r+b") as samples:
        samples.truncate(n_bytes)


def test_only_the_beginning_of_a_long_recording_is_read_with_a_warning(tmp_path):
    header = edit(write_wfdb(tmp_path), " 12 100 1000", f" 12 100 {WHOLE + 1}")
    lengthen(header.with_suffix(".dat"), (WHOLE + 1) * 24)
    record = read_record(header, ReadOptions(seconds=10))
    assert np.allclose(record.signal, beats(), atol=6e-4)
    assert sentences(Preprocess()(record)) == (UNVERIFIED.sentence, "lasts 2621.4 s; only the first 10 s are used.")
    whole = read_record(header)
    assert (len(whole.signal), whole.remarks) == (WHOLE + 1, ())  # zeros at the end leave the checksums as they were


@pytest.mark.parametrize(("kind", "bits"), [(8, 8), (16, 16), (212, 12), (24, 24)])
def test_reading_a_long_recording_takes_the_memory_of_its_beginning(tmp_path, kind, bits):
    header, n_samples = tmp_path / "x.hea", 2 * WHOLE
    (tmp_path / "x.dat").touch()
    lengthen(tmp_path / "x.dat", n_samples * 12 * bits // 8)
    header.write_text(f"x 12 500 {n_samples}\n" + f"x.dat {kind} 1000/mV\n" * 12)
    tracemalloc.start()
    record = read_record(header, ReadOptions(seconds=10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.signal.shape == (5000, 12)
    assert record.seconds == n_samples / 500
    assert peak < 2e6


def test_of_a_long_joined_record_only_the_first_segments_are_read(joined):
    times = WHOLE // 1000 + 1
    joined.write_text(f"joined/{2 * times} 12 100 {1000 * times}\n" + "first 400\nsecond.b 600\n" * times)
    record = read_record(joined, ReadOptions(seconds=5))
    assert np.allclose(record.signal, beats()[:500], atol=6e-4)
    assert (record.seconds, record.remarks) == (times * 10, ())  # checksums of both segments were compared
    joined.with_name("second.b.dat").unlink()
    assert read_record(joined, ReadOptions(seconds=4)).signal.shape == (400, 12)
