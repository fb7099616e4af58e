"""A patient's name and number, planted in files of every format, reach no output of any command."""

import base64
import contextlib
import io
import json
import os
import re
import shutil
import sqlite3
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data_prep.readers import FORMATS, find_records, npy_file, wfdb
from data_prep.readers.files import read_head
from data_prep.synthetic.folder import write_ptbxl
from data_prep.synthetic.waveform import synthesize
from ecgmtl.cli import app
from tests.planted_files import EVERY, FAMILY, FEW, GIVEN, NUMBER, PERSON, write_damaged, write_formats, write_labels
from tests.serve.client import ask, running

TINY = [
    "--set", "encoder.widths=[4, 4]", "--set", "decoder.width=4", "--set", "stages.0.epochs=1", "--threads", "1",
]  # fmt: skip
ARM = """\
name: tiny
encoder: {kind: cnn, widths: [4, 4]}
decoder: {width: 4}
stages:
  - name: main
    trains: [encoder, decoder, classifier]
    losses: [reconstruction, classification]
    masking: {share: 0.5}
    epochs: 1
"""
PACKED = re.compile(rb">([A-Za-z0-9+/]{40,}={0,2})<")
"""Drawing in a report: base64 of zlib."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Folders of files that name the patient: sound ones with their labels, damaged ones, and a PTB-XL."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sound").mkdir()
    names, splits = [], []
    for seed, split in enumerate(("train", "validation", "test")):
        signal = (synthesize(["NORM", "SR"], 500, 10.0, np.random.default_rng(seed)) / 1000).astype(np.float32)
        written = write_formats(folder / "sound", f"r{seed}", signal, FEW if seed else EVERY)
        names, splits = [*names, *written], [*splits, *[split] * len(written)]
    write_labels(folder / "sound", names, splits)
    write_damaged(folder / "sound", folder / "damaged", "r0")
    write_ptbxl(folder / "ptbxl", 12, seed=0)
    table = pd.read_csv(folder / "ptbxl" / "ptbxl_database.csv")
    texts = ("nurse", "site", "device", "report", "heart_axis", "infarction_stadium1", "infarction_stadium2")
    table.assign(validated_by=PERSON, **dict.fromkeys(texts, PERSON)).to_csv(
        folder / "ptbxl" / "ptbxl_database.csv", index=False
    )
    for header in folder.glob("ptbxl/**/*.hea"):
        header.write_text(f"{header.read_text()}# {PERSON}\n")
    return folder


@contextlib.contextmanager
def everything_said_to(path):
    """Write what this process and its children print, in C too, to a file."""
    with path.open("ab") as file:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


@pytest.fixture(scope="module")
def outputs(source, migrated, tmp_path_factory):
    """A working folder in which every command that reads ECGs, or what was made of them, has run."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copy(migrated, folder / "mlflow.db")
    (folder / "arms").mkdir()
    (folder / "arms/_base.yaml").write_text(ARM)
    (folder / "arms/single.yaml").write_text("about: Both tasks.\ngroup: reference\n")

    def ecgmtl(*arguments, code=0):
        with everything_said_to(folder / "printed.txt"):
            done = CliRunner().invoke(app, [*map(str, arguments)])
        with (folder / "said.txt").open("a") as file:
            file.write(f"{arguments[0]}: {done.output}\n")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output

    sound, damaged, model = source / "sound", source / "damaged", "run/model.safetensors"
    first, few = [sound / "r0", *sorted(sound.glob("r0-*"))], sorted(sound.glob("r1-*"))
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        ecgmtl("data", "check", sound, "--workers", 1, code=3)
        ecgmtl("data", "check", damaged, "--workers", 1, code=3)
        ecgmtl("data", "check", source / "ptbxl", "--workers", 1, code=3)
        ecgmtl("data", "prepare", source / "ptbxl", "ptbxl", "--workers", 1)
        ecgmtl("data", "prepare", sound, "store", "--workers", 1, code=3)
        ecgmtl("data", "check", "store")
        ecgmtl("train", "--data", "store", "--config", "arms/_base.yaml", "--out", "run", "--register", "m", *TINY)
        ecgmtl("evaluate", "run", "--data", "store", "--split", "test", "--from", "I,II,V2", "--out", "report")
        ecgmtl("compare", "arms", "--data", "store", "--out", "compared", "--seeds", 1)
        ecgmtl("export", "run", "--to", "mlflow-files", "--out", "exported", "--data", "store")
        ecgmtl("predict", model, sound, damaged, "--out", "p.csv", "--workers", 1, code=3)
        ecgmtl("predict", "exported", *few, damaged, "--out", "p.parquet", "--workers", 1, code=3)
        ecgmtl("predict", *few, damaged, "--out", "p.jsonl", "--window", "best", "--workers", 1, code=3)
        ecgmtl("predict", model, *first, damaged, "--report", "p.html", "--report-details", 1, code=3)
        ecgmtl("predict", model, *few, damaged, code=3)
        ecgmtl("convert", sound, "wfdb")
        ecgmtl("convert", damaged, "wfdb-of-damaged", code=3)
        ecgmtl("reconstruct", "run", sound / "r0-muse.xml", "--from", "I,II,V2", "--out", "filled")
        for shown in ("run", "exported"):
            ecgmtl("show", shown)
        ecgmtl("models")
        serve(source, folder)
    return folder


def serve(source, folder):
    """Send every file to the service and write what it answers; it logs nothing, as `running` checks."""
    (folder / "private").mkdir()
    sent = [
        (path.relative_to(source).as_posix(), path.read_bytes())
        for part in ("sound", "damaged")
        for path in sorted((source / part).rglob("*r0*"))
        if path.is_file()
    ]
    with running(folder / "private") as url:
        drawn = [(name, content) for name, content in sent if name.startswith(("sound/r0-csv", "sound/r0-wfdb"))]
        for address, files in (("/api/predict", sent), ("/api/cards", drawn)):
            status, headers, answer = ask(url, address, files)
            assert status == 200
            (folder / f"{address[5:]}.json").write_text(json.dumps(answer) + "".join(map(str, headers.items())))
        (folder / "model.json").write_text(json.dumps(ask(url, "/api/model")[2]))


def needles(word):
    """The bytes of a word in lower case as UTF-8 and UTF-16; in base64 its case counts."""
    yield word.lower().encode()
    yield word.lower().encode("utf-16-le")[:-1]


def in_base64(word):
    """The bytes in the midst of the word in base64, wherever it begins."""
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + word.encode())[4 if shift else 0 : -4]


def contents(path):
    """Yield the bytes of a file, and what is packed in it."""
    yield from unpacked(path.read_bytes())
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path).read()
        yield table.to_pandas().to_csv().encode() + str(table.schema.metadata).encode()
    if path.suffix == ".db":
        with contextlib.closing(sqlite3.connect(path)) as database:
            yield "\n".join(database.iterdump()).encode()


def unpacked(content):
    yield content
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield archive.comment
            for name in archive.namelist():
                yield from unpacked(archive.read(name))
    for packed in PACKED.findall(content):
        with contextlib.suppress(ValueError, zlib.error):
            yield zlib.decompress(base64.b64decode(packed))


def names_patient(path):
    """Whether a file holds the family name, the given name or the number of the patient in any form."""
    for content in contents(path):
        lower = content.lower()
        for word in (FAMILY, GIVEN, NUMBER):
            if any(needle in lower for needle in needles(word)) or any(needle in content for needle in in_base64(word)):
                return True
    return False


def test_every_format_that_has_room_for_a_name_holds_it(source):
    """A .npy file is one array of numbers, and EDAN's samples and WFDB's are beside the header that has the name."""
    records = list(find_records([source / "sound"]))
    silent = [path for path in records if not names_patient(path)]
    assert silent == []
    formats = {wfdb if path.stem.endswith("wfdb") else format_of(path) for path in records}
    assert {module.NAME for module in FORMATS} - {module.NAME for module in formats} == {npy_file.NAME}


def format_of(path):
    head = read_head(path)
    return next(module for module in FORMATS if module.recognizes(head))


@pytest.mark.slow
def test_no_output_of_any_command_names_the_patient(outputs):
    files = [path for path in outputs.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".csv", ".parquet", ".jsonl", ".html", ".db", ".safetensors", ".onnx", ".npy", ".md", ".hea"} <= kinds
    found = sorted(path.relative_to(outputs).as_posix() for path in files if names_patient(path))
    assert found == ["store/records.csv"]  # it keeps the table's patient_id, as docs/own-data.md says


@pytest.mark.slow
def test_a_prepared_folder_keeps_the_numbers_of_the_table_and_no_name(outputs):
    table = pd.read_csv(outputs / "store/records.csv", dtype=str)
    assert table.pop("patient_id").str.startswith(NUMBER).all()
    text = table.to_csv().lower()
    assert not any(word.lower() in text for word in (FAMILY, GIVEN, NUMBER))


@pytest.mark.slow
def test_every_command_had_something_to_say_and_most_files_were_read(outputs):
    table = pd.read_csv(outputs / "p.csv")
    sound = table[table["path"].str.contains("/sound/")]
    assert (sound["status"] == "ok").mean() > 0.7
    assert (table["status"] == "failed").sum() > 12
    said = Path(outputs / "said.txt").read_text()
    assert "registered: models:/m" in said
