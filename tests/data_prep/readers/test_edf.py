import numpy as np
import pytest

from data_prep import ReadOptions, read_record
from data_prep.leads import STANDARD_LEADS, standard_lead
from tests.edf_files import write_edf
from tests.refusals import refusal


@pytest.fixture
def digital(rng):
    return rng.integers(-8000, 8000, (5000, 12))


@pytest.mark.parametrize(("unit", "limit"), [("uV", 4000.0), ("mV", 4.0)])
@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_digital_samples_become_millivolts(unit, limit, suffix, digital, tmp_path):
    record = read_record(write_edf(tmp_path / f"a{suffix}", digital, unit=unit, limit=limit))
    expected = (digital + 32768) / 65535 * 8 - 4
    np.testing.assert_allclose(record.signal, expected, atol=1e-6)
    assert (record.fs, record.leads, record.seconds, record.unit) == (500, STANDARD_LEADS, 10, unit)


def test_other_signals_are_left_out(digital, tmp_path):
    path = write_edf(tmp_path / "a.edf", digital[:, :3], ("ECG I", "Resp", "ECG II"))
    assert read_record(path).leads == ("ECG I", "ECG II")


def test_numbered_electrodes_of_an_electroencephalogram_are_no_leads(digital, tmp_path):
    names = [f"{letter}{number}" for letter in "CD" for number in (1, 2, 3, 4, 5, 6)]
    assert refusal(write_edf(tmp_path / "a.bdf", digital, names)).startswith(
        "a.bdf has channels D1 to D6, as an electroencephalogram has. If it is an ECG, pass --leads D1=V1,..."
    )
    posterior = ("D1", "D2", "D3", *(f"C{number}" for number in range(1, 10)))
    record = read_record(write_edf(tmp_path / "b.bdf", digital, posterior))
    assert list(map(standard_lead, record.leads)) == ["I", "II", "III", *(f"V{number}" for number in range(1, 7))]
    options = ReadOptions(leads=("D1=I", "D2=II", "D3=III"))
    assert read_record(tmp_path / "a.bdf", options).leads[-3:] == ("I", "II", "III")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "mmHg"}, "a.edf: lead I has a stated unit that is not one of"),
        ({"unit": ""}, "a.edf states no unit for lead I; pass --unit."),
        ({"labels": [f"x{i}" for i in range(12)]}, "a.edf: none of its 12 columns has the name of a lead"),
        ({"rates": (500, 250)}, "a.edf: its leads should have one sampling rate; found 250, 500 Hz."),
    ],
)
def test_what_is_missing_or_contradictory_is_refused(options, message, digital, tmp_path):
    assert refusal(write_edf(tmp_path / "a.edf", digital, **options)).startswith(message)


def test_a_file_that_is_cut_short_is_refused(digital, tmp_path):
    path = write_edf(tmp_path / "a.edf", digital)
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(path).startswith("a.edf is not a valid EDF or BDF file: the file")


@pytest.mark.real
def test_a_real_file_is_a_sound_ecg(shared_data):
    record = read_record(shared_data / "formats/edf-scp-pair/0000050.ECG.edf")
    assert record.signal.shape == (37855, 12)
    step = 1 / 65.535  # mV, by its header; leads have offsets of some steps
    i, ii, iii, avr = (record.signal - np.median(record.signal, axis=0))[:, :4].T
    assert abs(i + iii - ii).max() < 3 * step  # Einthoven's law
    assert abs(avr + (i + ii) / 2).max() < 3 * step
