"""No message quotes content of a file that may be a patient's name or number."""

import csv
import re

import numpy as np
import pytest
from scipy.io import savemat

from data_prep import ReadOptions, RecordError, read_record
from data_prep.check import check
from data_prep.leads import STANDARD_LEADS
from data_prep.preprocess import Preprocess
from data_prep.sources import read_source
from data_prep.sources.tables import SourceError
from ecgmtl import checkpoint
from ecgmtl.cli.predict import report_of
from ecgmtl.cli.prediction_output import callbacks
from ecgmtl.inference.request import PredictionRequest, run_prediction
from tests.folders import edit, write_ptbxl
from tests.wfdb_files import beats, sentences, write_wfdb

NAME = "Ann Kim"
ROWS = "".join(",".join(f"{value:.2f}" for value in row) + "\n" for row in beats(300))
LEADS = ",".join(STANDARD_LEADS)
WFDB = {
    "first line": ("00001_lr 12", f"{NAME} 12"),
    "record": ("00001_lr 12", "Ann_Kim 12"),
    "rate": ("12 100", "12 Ann_Kim"),
    "file of a signal": ("00001_lr.dat", "Ann_Kim.dat"),
    "file with a space": ("00001_lr.dat", f"{NAME}.dat"),
    "file elsewhere": ("00001_lr.dat", "Ann_Kim/x.dat"),
    "format": (".dat 16", ".dat Ann_Kim"),
    "unknown format": (" 0 V1", f" 0 {NAME}\n# "),
    "gain": ("1000.0(0)", "Ann_Kim"),
    "unit of all": ("/mV", "/Ann_Kim"),
    "lead": ("0 V1\n", f"0 {NAME}\n"),
    "lead with another unit": ("0 V1\n", f"0 {NAME} [uV]\n"),
    "comment": ("# age: 60", f"# name: {NAME}"),
    "segments": ("00001_lr 12 100 1000\n", f"00001_lr/13 12 100 1000\n{NAME}/x 1000\n"),
    "segment": ("00001_lr 12 100 1000\n", "00001_lr/1 12 100 1000\nAnn_Kim 1000\n#"),
}


def plant_in_wfdb(folder, old, new):
    path = edit_whole(write_wfdb(folder), old, new)
    return edit_segment(path) if "/1 12" in new else path


def edit_whole(path, old, new):
    edit(path, old, new)
    return path


def edit_segment(path):
    """Leave only the first two lines, so that one segment is promised and listed."""
    path.write_text("\n".join(path.read_text().split("\n")[:2]) + "\n")
    return path


CSV = {
    "comment": f"# {NAME}\n{LEADS}\n{ROWS}",
    "rate": f"# fs={NAME} unit=mV\n{LEADS}\n{ROWS}",
    "unit": f"# fs=100 unit=Ann_Kim\n{LEADS}\n{ROWS}",
    "units below": f"# fs=100 unit=Ann_Kim\n{LEADS}\n{','.join(['mV'] * 12)}\n{ROWS}",
    "two units": f"# fs=100 unit=mV\n# unit=Ann_Kim\n{LEADS}\n{ROWS}",
    "name": f"# fs=100 unit=mV\n{LEADS.replace('V1', NAME)}\n{ROWS}",
    "name with a unit": f"# fs=100\n{LEADS.replace('V1', f'{NAME} [mV]')}\n{ROWS}",
    "no lead": f"# fs=100 unit=mV\n{NAME},{NAME}\n1,2\n",
    "cell": f"# fs=100 unit=mV\n{LEADS}\n{ROWS.replace('0.05', NAME, 1)}",
    "cell under a name": f"# fs=100 unit=mV\n{LEADS},{NAME}\n{','.join(['1'] * 12)},x\n",
    "open quote": f'# fs=100 unit=mV\n{LEADS}\n{ROWS}"{NAME}\n',
    "row": f"# fs=100 unit=mV\n{LEADS}\n{ROWS}{NAME}\n",
}
NPZ = {
    "leads": {"leads": [*STANDARD_LEADS[:-1], NAME]},
    "no lead": {"leads": [NAME] * 12},
    "unit": {"unit": NAME},
    "rate": {"fs": NAME},
    "signal": {"signal": np.array([[NAME] * 12])},
    "another array": {"name": NAME},
    "objects": {"leads": np.array([NAME] * 12, object)},
}
MAT = {
    "leads": {"leads": np.array([*STANDARD_LEADS[:-1], NAME], object)},
    "no lead": {"leads": np.array([NAME] * 12, object)},
    "unit": {"unit": NAME},
    "rate": {"fs": NAME},
    "signal": {"signal": NAME},
    "another recording": {"Ann_Kim": beats()},
    "a struct": {"signal": 0, "Ann_Kim": {"Ann_Kim": beats(), "Kim": beats()}},
    "a complex array": {"signal": 0, "Ann_Kim": beats() * 1j},
    "another rate": {"Ann_Kim": {"fs": 500}},
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Files with a name in every place of every format, each in a folder of its own."""
    root = tmp_path_factory.mktemp("planted")
    paths = []
    for number, (old, new) in enumerate(WFDB.values()):
        (root / f"w{number}").mkdir()
        paths.append(plant_in_wfdb(root / f"w{number}", old, new))
    for number, text in enumerate(CSV.values()):
        paths.append(root / f"c{number}.csv")
        paths[-1].write_text(text)
    for number, arrays in enumerate(NPZ.values()):
        paths.append(root / f"n{number}.npz")
        np.savez(paths[-1], **({"signal": beats(), "fs": 100, "leads": STANDARD_LEADS} | arrays))
    for number, arrays in enumerate(MAT.values()):
        paths.append(root / f"m{number}.mat")
        leads = np.array(STANDARD_LEADS, object)
        savemat(paths[-1], {"signal": beats(), "fs": 100, "unit": "mV", "leads": leads} | arrays)
    return root, paths


def is_quoted(text):
    return any(word in text for word in ("Ann", "Kim", "ann_kim"))


def message_of(path):
    try:
        prepared = Preprocess()(read_record(path, ReadOptions(seconds=10)))
    except RecordError as error:
        return str(error)
    return " ".join(sentences(prepared))


def test_no_reader_quotes_what_may_be_a_name(planted):
    _, paths = planted
    messages = {str(path): message_of(path) for path in paths}
    assert {path: message for path, message in messages.items() if is_quoted(message)} == {}
    assert sum(bool(message) for message in messages.values()) > 25


def test_the_check_of_a_folder_quotes_no_name(planted):
    report = check(planted[0])
    assert len(report.findings) > 25
    assert not is_quoted(report.render())


def test_neither_the_table_nor_the_report_of_predictions_holds_a_name(planted, stored, tmp_path, capsys):
    stored_at, out, report = (tmp_path / name for name in ("m.safetensors", "predictions.csv", "report.html"))
    checkpoint.save(stored_at, stored)
    request = PredictionRequest(str(stored_at), [str(planted[0])], table=out, report=report_of(report, 2))
    run_prediction(request, callbacks(debug=False))
    with out.open() as file:
        assert len(list(csv.DictReader(file))) == len(planted[1])
    assert not is_quoted(out.read_text())
    assert not is_quoted(re.sub(r'<script type="text/plain".*', "", report.read_text()))  # but for packed signals
    assert not is_quoted("".join(capsys.readouterr()))


@pytest.mark.parametrize(
    "text",
    [
        f"record,AF\na,{NAME}\n",
        f"record,patient_id,AF\na,{NAME},1\nb,{NAME},x\n",
        f"record,fold,AF\na,{NAME},1\n",
        f"record,split,AF\na,{NAME},1\n",
        f"record,age,AF\na,{NAME},1\n",
        f"record,sex,AF\na,{NAME},1\n",
        f"record,note,AF\na,{NAME},x\n",
        f"../{NAME},AF\n{NAME},x\n",
        f"{NAME},{NAME}\na,b\n",
        f'record,AF\n"{NAME},1\n',
        f"record,AF\na,1,{NAME}\n",
    ],
)
def test_no_problem_of_a_labels_table_quotes_a_cell(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path, 100).require_sound()
    assert not is_quoted(str(caught.value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1,1.0,300.0", f"{NAME},1.0,300.0"),
        ("1,1.0,300.0", f"1,{NAME},300.0"),
        ("1,1.0,300.0", f"1,1.0,{NAME}"),
        (",0,{'NORM': 100.0},1,", f",{NAME},{{'NORM': 100.0}},1,"),
        ("{'NORM': 100.0},1,", f"{NAME},1,"),
        ("{'NORM': 100.0},1,", f"{{'{NAME}': 100.0}},1,"),
        ("{'NORM': 100.0},1,", f"{{'NORM': 100.0}},{NAME},"),
        ("ecg_id,patient_id", f"{NAME},patient_id"),
        ("ecg_id,patient_id,age,", f"{NAME},{NAME},age,"),
        ("1,1.0,300.0", f"1,1.0,300.0,{NAME}"),
    ],
)
def test_no_problem_of_ptbxl_s_tables_quotes_a_cell(ptbxl, old, new):
    edit(ptbxl / "ptbxl_database.csv", old, new)
    with pytest.raises(SourceError) as caught:
        read_source(ptbxl, 100).require_sound()
    assert not is_quoted(str(caught.value))


@pytest.fixture
def ptbxl(tmp_path, rng):
    return write_ptbxl(tmp_path, [{"NORM": 100.0}], rng)
