"""The commands of `ecgmtl data` as they are typed."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from data_prep.readers import ReadOptions, holds_ecg
from ecgmtl import checkpoint
from ecgmtl.cli import app
from tests.folders import ecg
from tests.vendor_files import parquet
from tests.wfdb_files import write_wfdb

STATED = ["--fs", "250", "--unit", "uV", "--leads", "I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"]
NAMES = [f"channel {number}" for number in range(12)]
"""Columns that are no leads, unless --leads says so."""


def ecgmtl(*arguments, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def folder(tmp_path, rng):
    """One record in microvolts that states neither rate, unit nor leads."""
    folder = tmp_path / "records"
    folder.mkdir()
    np.savetxt(folder / "a.csv", 1000 * ecg(rng, 2500, 250), "%d", ",")
    (folder / "labels.csv").write_text("record,patient_id,split,AF\na,1,train,1\n")
    return folder


def options(*path):
    command = get_command(app)
    for name in path:
        command = command.commands[name]
    return {parameter.name: (parameter.opts, parameter.help) for parameter in command.params}


def test_all_commands_that_read_files_share_their_options():
    commands = (("predict",), ("reconstruct",), ("data", "prepare"), ("data", "check"))
    for name in ("fs", "unit", "leads", "follow_links"):
        assert len({str(options(*command)[name]) for command in commands}) == 1


def test_check_and_prepare_take_options_that_files_do_not_state(folder, tmp_path):
    assert "pass --fs" in " ".join(ecgmtl("data", "check", folder, *STATED[2:], code=3).split())
    ecgmtl("data", "check", folder, *STATED)
    ecgmtl("data", "prepare", folder, tmp_path / "store", *STATED, "--set", "preprocess.fs=125")
    manifest = json.loads((tmp_path / "store/manifest.json").read_text())
    assert manifest["signals"]["shape"] == [1, 12, 1250]
    assert manifest["read"]["fs"] == 250


def test_prepare_counts_records_with_warnings_and_those_that_were_there_already(folder, tmp_path, rng):
    np.savetxt(folder / "b.csv", 1000 * ecg(rng, 1250, 250), "%d", ",")  # 5 s
    (folder / "labels.csv").write_text("record,patient_id,split,AF\na,1,train,1\nb,2,train,0\n")
    told = [ecgmtl("data", "prepare", folder, tmp_path / "s", *STATED).splitlines()[-1] for _ in range(2)]
    said = f"2 records in {tmp_path / 's'}, 1 with warnings"
    assert told == [said, f"{said}, 2 there already"]


def test_check_exits_with_3_where_a_file_cannot_be_read_or_is_missing(folder):
    ecgmtl("data", "check", folder, *STATED, code=0)
    (folder / "b.csv").write_text("I,II\n1,x\n")
    (folder / "labels.csv").write_text("record,AF\na,1\nb,0\n")
    assert "1 unreadable: b.csv" in ecgmtl("data", "check", folder, *STATED, code=3)
    (folder / "b.csv").unlink()
    (folder / "labels.csv").write_text("record,AF\na,1\nAnn Kim,0\n")
    told = ecgmtl("data", "check", folder, *STATED, code=3)
    assert "1 missing file: line 3" in told
    assert "Kim" not in told


def test_check_and_prepare_describe_a_table_alike(folder, tmp_path):
    (folder / "labels.csv").write_text("record,Sex,AF,MI,no\x1bte\na,F,1,0,one\n")
    for command, *more in (["check"], ["prepare", tmp_path / "store"]):
        told = ecgmtl("data", command, folder, *more, *STATED)
        assert "sex is 'Sex'; labels are AF, MI; left out: no\\x1bte (text)" in told
        assert "\x1b" not in told
    (folder / "labels.csv").write_text("record,Sex,AF,MI\na,Ann,1,\nb,F,Bob,0\n")
    told = ecgmtl("data", "prepare", folder, tmp_path / "other", *STATED, code=1)
    assert "line 2: Sex is none of M, F" in told
    assert "line 2: MI is empty" in told
    assert "line 3: AF is neither yes nor no" in told
    assert not any(name in told.replace(str(tmp_path), "") for name in ("Ann", "Bob"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--set", "seed=1"], "preprocess"), (["--fs", "0"], "fs: 0"), (["--leads", ""], "leads")]
)
def test_impossible_options_are_refused(folder, tmp_path, arguments, said):
    assert said in ecgmtl("data", "prepare", folder, tmp_path / "store", *arguments, code=2)
    assert not (tmp_path / "store").exists()


def test_files_that_are_not_read_are_counted_by_check_and_prepare(folder, tmp_path):
    for name in ("b\x1b.xml", "notes.txt", "patients.csv"):
        (folder / name).write_text("id,age\n7,60\n8,61\n")
    for command, *more in (["check"], ["prepare", folder / "store"]):
        lines = [line for line in ecgmtl("data", command, folder, *more, *STATED).splitlines() if "not read" in line]
        assert lines == [
            "not read: 1 without a reader (1 .xml): b\\x1b.xml",
            "not read: 1 table about records: patients.csv",
            "not read: 1 other file (1 .txt): notes.txt",
        ]


def test_a_file_name_with_a_line_break_stays_on_its_line(folder):
    (folder / "x\n9 unreadable.csv").write_text("I,II\n1,2\n")
    assert "\n9 unreadable" not in ecgmtl("data", "check", folder, *STATED, code=3)


@pytest.mark.parametrize(("strict", "code"), [(["--strict"], 3), ([], 0)])
def test_a_file_without_a_reader_fails_a_strict_prediction(stored, tmp_path, strict, code):
    checkpoint.save(tmp_path / "m.safetensors", stored)
    (tmp_path / "ecgs").mkdir()
    write_wfdb(tmp_path / "ecgs")
    (tmp_path / "ecgs/a.xml").write_text("<ecg/>")
    text = ecgmtl("predict", tmp_path / "m.safetensors", tmp_path / "ecgs", *strict, code=code)
    assert "not read: 1 without a reader (1 .xml): a.xml" in text


@pytest.mark.parametrize(
    ("option", "name", "content"),
    [
        ("--out", "ecg.csv", "# fs=100 unit=mV\nI,II\n1,2\n"),
        ("--out", "ecg.csv", "I\n1\n2\n"),
        ("--out", "ecg.jsonl", "I,II\n1,2\n3,4\n"),
        ("--out", "ecg.parquet", None),
        ("--report", "ecg.html", "I,II\n1,2\n3,4\n"),
    ],
)
def test_a_prediction_does_not_replace_an_ecg(stored, folder, tmp_path, rng, option, name, content):
    checkpoint.save(tmp_path / "m.safetensors", stored)
    out = tmp_path / name
    out.write_bytes(parquet(ecg(rng, 1000)) if content is None else content.encode())
    before = out.read_bytes()
    text = ecgmtl("predict", tmp_path / "m.safetensors", folder, option, out, code=1)
    what = option.replace("--out", "--table").strip("-")
    assert f"is an ECG, which the {what} would replace; choose another {option}." in " ".join(text.split())
    assert out.read_bytes() == before


def test_a_table_of_numbers_is_an_ecg_if_its_leads_are_given(folder):
    table = folder / "a.csv"
    assert holds_ecg(table, ReadOptions.of_text(250, "uV", STATED[-1]))
    assert not holds_ecg(table)


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_the_bar_of_a_prediction_counts_with_the_options_of_the_files(stored, folder, tmp_path, monkeypatch, option):
    checkpoint.save(tmp_path / "m.safetensors", stored)
    np.savetxt(folder / "named.csv", np.zeros((2500, 12)), "%d", ",", header=",".join(NAMES), comments="")
    counts = []

    @contextmanager
    def bar(count):
        counts.append(count())
        yield lambda _done: None

    monkeypatch.setattr("ecgmtl.cli.prediction_output.prediction_bar", bar)
    out = tmp_path / {"--out": "p.csv", "--report": "p.html"}[option]
    leads = ",".join(f"{name}=V{number}" for number, name in enumerate(NAMES[:6], 1))
    read = ["--fs", 250, "--unit", "uV", "--leads", leads]
    text = ecgmtl("predict", tmp_path / "m.safetensors", folder, *read, "--workers", 1, option, out, code=1)
    assert "0 records predicted, 2 failed" in text
    assert counts == [2]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_prediction_replaces_an_earlier_one(stored, folder, tmp_path, suffix):
    checkpoint.save(tmp_path / "m.safetensors", stored)
    (tmp_path / "p.csv").touch()
    for _ in range(2):
        ecgmtl("predict", tmp_path / "m.safetensors", folder, *STATED, "--workers", 1, "--out", tmp_path / f"p{suffix}")
