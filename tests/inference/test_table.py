import errno
import json
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from data_prep.files import naming
from data_prep.quality import Finding, Severity
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.inference.table import FORMATS, PredictionsFileError, open_predictions, row_of

LABELS = ("MI", "NORM")
SUFFIXES = (".csv", ".jsonl", ".parquet")
READS = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": lambda path: pd.read_json(path, lines=True)}
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


def predicted(i, p, warnings=(), rmse=0.125):
    findings = tuple(Finding("cut-off", warning, leads=("V1",), value=1.5) for warning in warnings)
    calibrated = {"MI": p / 3, "NORM": 1 - p}
    decided = {name: value >= 0.5 for name, value in calibrated.items()}
    return Prediction(Path(f"r{i}.hea"), {"MI": p, "NORM": 1 - p}, calibrated, decided, rmse, findings)


@pytest.fixture
def results(rng):
    some = [predicted(i, p) for i, p in enumerate(rng.uniform(size=5).tolist())]
    warned = predicted(5, 0.1, ("lead V1 is flat;", 'a "quoted", comma\nand line'), rmse=None)
    return [*some[:3], Failure(Path("é, b.hea"), "é, b.hea: no lead V4, V5"), *some[3:], warned]


def written(path, results, size=2):
    with open_predictions(path, LABELS) as write:
        for start in range(0, len(results), size):
            write([row_of(result) for result in results[start : start + size]])
    return READS[path.suffix](path)


@every_suffix
def test_a_table_contains_the_predictions(results, tmp_path, suffix):
    table = written(tmp_path / f"p{suffix}", results)
    assert table["path"].tolist() == [str(result.path) for result in results]
    assert table["status"].tolist() == ["ok"] * 3 + ["failed"] + ["ok"] * 3
    for row, result in zip(table.to_dict("records"), results, strict=True):
        if isinstance(result, Failure):
            assert row["message"] == result.reason
            continue
        for name in LABELS:
            assert row[f"p_{name}"] == pytest.approx(result.probabilities[name], rel=1e-12)
            assert row[f"calibrated_{name}"] == pytest.approx(result.calibrated[name], rel=1e-12)
            assert row[f"decision_{name}"] == result.decisions[name]
    assert table["warnings"].iloc[-1] == results[-1].warnings.replace("\n", r"\n")  # a row is one line


@every_suffix
def test_a_file_name_that_is_not_text_is_spelled_out(tmp_path, suffix):
    path = Path(os.fsdecode(b"M\xe4ller.npz"))
    table = written(tmp_path / f"p{suffix}", [Failure(path, f"{path}: cut"), predicted(0, 0.5)])
    assert table[["path", "message"]].iloc[0].tolist() == [r"M\udce4ller.npz", r"M\udce4ller.npz: cut"]


@every_suffix
@pytest.mark.parametrize("mark", [*"=+-@", "\t", "\r", "＝"])
def test_no_text_in_a_cell_runs_as_a_formula(tmp_path, suffix, mark):
    path = f"{mark}cmd(1).csv"
    warned = replace(predicted(0, 0.5, (f"{mark}1 is odd.",)), path=Path("sub") / path)
    table = written(tmp_path / f"p{suffix}", [Failure(Path(path), f"{path}: cut"), warned])
    cells = [text for name in ("path", "message", "warnings") for text in table[name].dropna()]
    assert not [text for text in cells if text.startswith((*"=+-@", "\t", "\r", "＝"))]
    if not mark.isspace():
        assert table["path"].tolist() == [f"./{path}", f"sub/{path}"]  # both still name their files
        assert f"'{path}: cut" in cells


@every_suffix
def test_characters_that_change_a_screen_are_spelled_out(tmp_path, suffix):
    table = written(tmp_path / f"p{suffix}", [Failure(Path("\x1b[31m\u202ea\nb.csv"), "two\nlines\u2028\x00\xa0µV")])
    assert table[["path", "message"]].iloc[0].tolist() == [r"\x1b[31m\u202ea\nb.csv", "two\\nlines\\u2028\\x00\xa0µV"]
    if suffix != ".parquet":
        assert len((tmp_path / f"p{suffix}").read_text().splitlines()) == (2 if suffix == ".csv" else 1)


def test_all_formats_have_the_same_content(results, tmp_path):
    tables = [written(tmp_path / f"p{suffix}", results) for suffix in SUFFIXES]
    numbers = [name for name in tables[0] if name.startswith(("p_", "calibrated_", "decision_", "reconstruction"))]
    for table in tables[1:]:
        assert list(table.columns) == list(tables[0].columns)
        np.testing.assert_allclose(table[numbers].astype(float), tables[0][numbers].astype(float), rtol=1e-12)


def test_a_failure_has_no_figures(results, tmp_path):
    for suffix in SUFFIXES:
        written(tmp_path / f"p{suffix}", results)
    line = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[3])
    assert {name for name, value in line.items() if value not in (None, [])} == {"path", "status", "message"}
    assert '"é, b.hea",failed,"é, b.hea: no lead V4, V5",,,,,,,,,,' in (tmp_path / "p.csv").read_text().splitlines()
    kept = pq.read_table(tmp_path / "p.parquet").to_pylist()[3]
    assert {name for name, value in kept.items() if value not in (None, "")} == {"path", "status", "message"}
    for name in ("p.csv", "p.jsonl"):
        assert not re.search(r"\bnan\b", (tmp_path / name).read_text(), re.IGNORECASE)


@every_suffix
def test_an_empty_table_has_its_columns(tmp_path, suffix):
    with open_predictions(tmp_path / f"p{suffix}", LABELS):
        pass
    if suffix != ".jsonl":
        assert "calibrated_NORM" in READS[suffix](tmp_path / f"p{suffix}").columns


@every_suffix
def test_an_error_keeps_the_previous_table(results, tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    path.write_text("the previous one")

    def write_some_and_stop(write):
        write([row_of(result) for result in results])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_predictions(path, LABELS) as write:
        write_some_and_stop(write)
    assert path.read_text() == "the previous one"
    assert list(tmp_path.iterdir()) == [path]


@every_suffix
def test_a_table_appears_when_it_is_complete(results, tmp_path, suffix):
    path = tmp_path / "new folder" / f"p{suffix}"
    with open_predictions(path, LABELS) as write:
        write([row_of(result) for result in results])
        assert not path.exists()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p.txt", r"p\.txt: should end in \.csv, \.parquet, \.jsonl; found '\.txt'"),
        ("p", "found ''"),
        ("file/p.csv", "cannot be written: "),
        ("folder.csv", r"folder\.csv: is a folder; name a file"),
    ],
)
def test_a_path_that_cannot_be_written_is_rejected_before_any_work(tmp_path, name, said):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(PredictionsFileError, match=said), open_predictions(tmp_path / name, LABELS):
        pytest.fail("the work began")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_rejected(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PredictionsFileError, match="Permission denied"), open_predictions(tmp_path / "p.csv", LABELS):
        pytest.fail("the work began")


@every_suffix
def test_a_record_without_a_decision_has_probabilities_and_the_reason(tmp_path, suffix):
    noise = Finding("noise-lead", "lead V3 noise.", Severity.NO_DECISION, ("V3",), 1)
    warned = predicted(0, 0.9, ("short.",))
    doubtful = replace(warned, decisions={}, findings=(noise, *warned.findings))
    row = written(tmp_path / f"p{suffix}", [doubtful, predicted(1, 0.9)]).iloc[0]
    assert (row["status"], row["p_MI"], row["warnings"]) == ("ok", 0.9, "No decision: lead V3 noise. short.")
    assert row[["decision_MI", "decision_NORM"]].isna().all()


@every_suffix
def test_findings_are_codes_in_a_table_and_objects_in_json(tmp_path, suffix):
    noise = Finding("noise-lead", "lead V2, V3 \x1b noise.", Severity.NO_DECISION, ("V2", "V3"), 2)
    short = Finding("short", "lasts 7 s.", value=7.0)
    row = written(tmp_path / f"p{suffix}", [replace(predicted(0, 0.9), findings=(noise, short))]).iloc[0]
    if suffix != ".jsonl":
        assert row["findings"] == "noise-lead=V2,V3 short"
        return
    assert row["findings"] == [
        {
            "code": "noise-lead",
            "sentence": r"lead V2, V3 \x1b noise.",
            "value": 2,
            "leads": ["V2", "V3"],
            "severity": "no decision",
        },
        {"code": "short", "sentence": "lasts 7 s.", "value": 7.0, "leads": [], "severity": "note"},
    ]


def test_a_full_disk_is_told_by_the_name_of_its_own_table(tmp_path, monkeypatch):
    """A report that is written at the same time is not blamed."""

    @contextmanager
    def full(path, names):
        def write(rows):
            raise OSError(errno.ENOSPC, "No space left on device")

        yield write

    monkeypatch.setitem(FORMATS, ".csv", FORMATS[".csv"]._replace(write=full))
    out, report = tmp_path / "p.csv", tmp_path / "report.html"
    with pytest.raises(OSError, match="No space") as caught, open_predictions(out, LABELS) as write, naming(report):
        write([])
    assert caught.value.filename == str(out)
