"""Conversion to WFDB: samples, rates, gaps and names are kept, and nothing of a patient is written."""

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from data_prep.convert import Converted, ConvertError, convert
from data_prep.leads import STANDARD_LEADS
from data_prep.readers import ReadOptions, read_record
from data_prep.wfdb_writer import header_at
from ecgmtl.cli import app

OPTIONS = ReadOptions()


@pytest.fixture
def npz(tmp_path, rng):
    """Write a NumPy record and return its signal in mV."""

    def write(name, fs=257.5, leads=STANDARD_LEADS, scale=0.5):
        signal = rng.normal(0, scale, (1000, len(leads))).astype(np.float32)
        signal[100:103, 0] = np.nan
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, signal=signal, fs=fs, leads=np.array(leads))
        return signal

    return write


def test_a_converted_record_has_the_samples_rate_leads_and_gaps_of_the_file(npz, tmp_path):
    signal = npz("a.npz")
    (result,) = convert(tmp_path / "in/a.npz", tmp_path / "a", OPTIONS)
    assert result == Converted(tmp_path / "in/a.npz", tmp_path / "a.hea")
    for record_signal, fs, leads in (
        (
            read_record(tmp_path / "a.hea").signal,
            read_record(tmp_path / "a.hea").fs,
            read_record(tmp_path / "a.hea").leads,
        ),
        (wfdb.rdrecord(str(tmp_path / "a")).p_signal, wfdb.rdrecord(str(tmp_path / "a")).fs, STANDARD_LEADS),
    ):
        assert record_signal == pytest.approx(signal, abs=5.1e-4, nan_ok=True)
        assert (fs, tuple(leads)) == (257.5, STANDARD_LEADS)


def test_records_that_were_written_below_the_folder_are_not_converted_again(npz, tmp_path):
    npz("deep/a.npz")
    out = tmp_path / "in/out"
    paths = [[result.path.name for result in convert(tmp_path / "in", out, OPTIONS)] for _ in range(2)]
    assert paths == [["a.npz"], ["a.npz"]]
    assert [result.existed for result in convert(out, out, OPTIONS)] == [True]  # a folder that is its own


def test_a_folder_is_converted_into_the_one_that_it_lies_in(npz, tmp_path):
    npz("deep/a.npz")
    assert [result.path for result in convert(tmp_path / "in", tmp_path, OPTIONS)] == [tmp_path / "in/deep/a.npz"]
    assert (tmp_path / "deep/a.hea").is_file()


@pytest.mark.parametrize("damage", [np.inf, -np.inf])
def test_infinite_values_are_refused_rather_than_written_as_a_gap(npz, tmp_path, damage):
    signal = npz("a.npz")
    signal[500, 2] = damage
    np.savez(tmp_path / "in/a.npz", signal=signal, fs=257.5, leads=np.array(STANDARD_LEADS))
    (result,) = convert(tmp_path / "in/a.npz", tmp_path / "a", OPTIONS)
    assert "1 of 1000 samples of lead III are infinite" in result.failure
    assert not (tmp_path / "a.hea").exists()


def test_a_lead_beyond_32_mv_is_written_in_coarser_steps_and_that_is_told(npz, tmp_path):
    signal = npz("a.npz", leads=("I", "II", "foo"), scale=20.0)
    (result,) = convert(tmp_path / "in/a.npz", tmp_path / "a", OPTIONS)
    assert read_record(tmp_path / "a.hea").signal == pytest.approx(signal[:, :2], abs=2e-3, nan_ok=True)
    assert "lead I in steps of" in result.warnings[0]
    assert result.warnings[1] == "columns left out, because they are not standard leads: 1."


@pytest.mark.parametrize("scale", [1e-2, 5e-4, 1e-6])
def test_values_far_below_those_of_an_ecg_keep_their_course(npz, tmp_path, scale):
    signal = npz("a.npz", scale=scale)
    (result,) = convert(tmp_path / "in/a.npz", tmp_path / "a", OPTIONS)
    assert result.warnings == ()
    for converted in (read_record(tmp_path / "a.hea").signal, wfdb.rdrecord(str(tmp_path / "a")).p_signal):
        assert converted == pytest.approx(signal, abs=1e-3 * scale, nan_ok=True)


def test_a_folder_keeps_its_structure_and_every_file_is_accounted_for(npz, tmp_path):
    for name in ("x/a.npz", "x/b c.npz", "y/a.npz"):
        npz(name)
    (tmp_path / "in/y/bad.npz").write_bytes(b"nonsense")
    (tmp_path / "in/notes.txt").write_text("x")
    out = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "out")])
    assert out.exit_code == 3
    headers = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/**/*.hea"))
    assert headers == ["x/a.hea", "x/b_c.hea", "y/a.hea"]
    assert "3 records written, 1 failed" in out.stderr
    assert "bad.npz" in out.stderr
    assert "notes.txt" in out.stderr
    again = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "out")])
    assert "0 records written, 3 there already, 1 failed" in again.stderr


def test_two_files_of_one_name_never_become_one_record(npz, tmp_path):
    npz("a b.npz")
    npz("a_b.npz")
    first, second = convert(tmp_path / "in", tmp_path / "out", OPTIONS)
    assert first.header == tmp_path / "out/a_b.hea"
    assert second.header is None
    assert "a b.npz is converted to" in second.failure


def test_a_lost_voltage_scale_stays_lost(npz, tmp_path):
    npz("a.npz")
    list(convert(tmp_path / "in/a.npz", tmp_path / "a", ReadOptions(unit="none")))
    assert not read_record(tmp_path / "a.hea").calibrated


def test_an_ecg_that_is_called_as_the_samples_of_the_record_is_kept(npz, tmp_path):
    npz("a.npz")
    out = tmp_path / "a.dat"
    (tmp_path / "in/a.npz").replace(out)
    before = out.read_bytes()
    (result,) = convert(out, tmp_path / "a", OPTIONS)
    assert result.failure == f"{out} is an ECG, which the record would replace; choose another OUT."
    assert out.read_bytes() == before


def test_what_looks_like_a_suffix_is_not_written(npz, tmp_path):
    npz("a.npz")
    named = (tmp_path / "in/a.npz").rename(tmp_path / "in/2024.Mustermann")
    list(convert(named, tmp_path / "a", OPTIONS))
    assert "mustermann" not in (tmp_path / "a.hea").read_text().lower()


def test_nothing_but_leads_is_taken_from_a_file(npz, tmp_path):
    leads = (*STANDARD_LEADS, "Erika Mustermann")
    npz("a.npz", leads=leads)
    list(convert(tmp_path / "in/a.npz", tmp_path / "a", OPTIONS))
    assert "Mustermann" not in (tmp_path / "a.hea").read_text()


@pytest.mark.parametrize("out", ["a b", "Röder", "a.xml", "a.b.hea"])
def test_a_name_that_wfdb_does_not_allow_is_refused(npz, tmp_path, out):
    npz("a.npz")
    with pytest.raises(ConvertError, match="should be the name of a WFDB record"):
        list(convert(tmp_path / "in/a.npz", tmp_path / out, OPTIONS))


@pytest.mark.parametrize("out", ["a", "a.hea", "a.dat", "a.HEA"])
def test_a_record_is_named_with_or_without_a_suffix(tmp_path, out):
    assert header_at(tmp_path / out, ConvertError) == tmp_path / "a.hea"


def test_a_folder_is_no_name_for_a_record(npz, tmp_path):
    npz("a.npz")
    with pytest.raises(ConvertError, match=r"is a folder; name a record in it, for example \S+ecg\."):
        list(convert(tmp_path / "in/a.npz", tmp_path, OPTIONS))


def test_a_missing_file_is_a_failure(tmp_path):
    (result,) = convert(tmp_path / "none.npz", tmp_path / "a", OPTIONS)
    assert "there is no such file" in result.failure


def test_a_pattern_of_several_files_is_refused(npz, tmp_path):
    npz("a.npz")
    npz("b.npz")
    with pytest.raises(ConvertError, match=r"should be one ECG or a folder; found 2 files"):
        list(convert(tmp_path / "in/*.npz", tmp_path / "a", OPTIONS))
