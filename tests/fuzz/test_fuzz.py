"""Every loader of files, given files that are damaged at random: it loads them or raises its own error, and no other.

`pytest tests/fuzz --fuzz 2500` tries so many of each kind; the suite tries a few.
"""

import json
import random
import shutil
import struct
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch

from data_prep import Preprocess, ReadOptions, RecordError, read_record
from data_prep.store.ledger import PROGRESS, resume
from data_prep.store.manifest import StoreError
from data_prep.store.open import check_store
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl import checkpoint
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.results import result_path
from ecgmtl.comparison.truth import ComparisonError
from ecgmtl.config.parse import ConfigError
from ecgmtl.config.run import Config, load_config
from ecgmtl.inference.metadata import MetadataError, ModelMetadata
from ecgmtl.inference.predictor import PredictorError, load_predictor
from ecgmtl.inference.torch_predictors import metadata_of
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.history import EpochLine
from ecgmtl.training.state_file import load_state, save_state
from tests.comparisons import write_comparison
from tests.dicom_files import channels, group, write_dicom
from tests.edf_files import write_edf
from tests.fuzz.mutants import change, damage, damage_json, damage_yaml
from tests.models import untrained
from tests.vendor_files import FILES
from tests.wfdb_files import beats, write_wfdb


@pytest.fixture
def n_mutants(request):
    return request.config.getoption("--fuzz")


@pytest.fixture
def chance():
    return random.Random(0)


def survive(read, errors):
    """Read; the errors are ours, which every command shows as a sentence, and any other ends the test."""
    with suppress(errors):
        read()


@pytest.fixture
def ecgs(tmp_path):
    """One small ECG in every format that has a reader."""
    signal = beats(250, 250.0)
    write_wfdb(tmp_path, signal, fs=250.0, name="a")
    np.savez(tmp_path / "a.npz", signal=signal, fs=250.0, unit="mV", leads=np.array(LEADS))
    write_dicom(tmp_path / "a.dcm", group((signal * 400).astype(np.int16), channels(), 250.0))
    write_edf(tmp_path / "a.edf", (signal * 1000).astype(np.int32), rates=(250,))
    np.savetxt(tmp_path / "a.csv", signal, "%.3f", ",", header="# fs=250 unit=mV\n" + ",".join(LEADS), comments="")
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content(signal))
    return tmp_path


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.hea", "a.dat", "a.dcm", "a.edf", *FILES])
def test_damaged_ecgs(name, ecgs, n_mutants, chance):
    path = ecgs / name
    content = path.read_bytes()
    read_record(path, ReadOptions())
    for _ in range(n_mutants):
        path.write_bytes(damage(content, chance))
        survive(lambda: read_record(path, ReadOptions()), RecordError)


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_ptbxl(folder / "records", 12, seed=0)
    prepare(folder / "records", folder / "store", Preprocess(), "superdiagnostic", workers=1)
    return folder / "store"


@pytest.mark.parametrize("name", ["manifest.json", "signals.npy", "records.csv"])
def test_damaged_stores(name, small_store, tmp_path, n_mutants, chance):
    store = tmp_path / "store"
    shutil.copytree(small_store, store)
    content = (store / name).read_bytes()
    check_store(store)
    for _ in range(n_mutants):
        (store / name).write_bytes((damage_json if name == "manifest.json" else damage)(content, chance))
        survive(lambda: check_store(store), StoreError)


def test_damaged_ledgers(tmp_path, n_mutants, chance):
    settings = {"source": "records", "fs": 100}
    chunk = {"rows": [0, 1], "failures": [["a", "b"]]}
    content = "\n".join(json.dumps(line) for line in (settings, chunk)).encode()
    for _ in range(n_mutants):
        (tmp_path / PROGRESS).write_bytes(damage(content, chance))
        survive(lambda: resume(tmp_path, settings), StoreError)


@pytest.mark.parametrize("name", ["run.json", "history.jsonl"])
def test_damaged_run_folders(name, tmp_path, n_mutants, chance):
    folder = RunFolder.create(tmp_path / "run", Config(), tmp_path)
    for epoch in range(5):
        folder.history.append(EpochLine("joint", epoch, 3, 5, 1.0, {"train/loss.x": 0.5}))
    path = folder.path / name
    content = path.read_bytes()

    def read():
        run = RunFolder.reopen(folder.path)
        assert run.data
        run.tracked("joint")
        run.history.read()
        run.history.rewind("joint", 3)

    read()
    for _ in range(n_mutants):
        path.write_bytes((damage_json if name == "run.json" else damage)(content, chance))
        survive(read, ConfigError)


def test_damaged_descriptions_of_checkpoints(tmp_path, n_mutants, chance):
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, untrained())
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    description = json.loads(header["__metadata__"]["ecgmtl"])
    for _ in range(n_mutants):
        text = json.dumps(change(description, chance)) if chance.random() < 0.9 else "[" * 100_000
        metadata = {"ecgmtl": text, "sha256": checkpoint.sha256(text.encode())}
        changed = json.dumps(change(header | {"__metadata__": metadata}, chance)).encode()
        path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + size :])
        survive(lambda: checkpoint.load(path), CheckpointError)


def test_damaged_training_states(tmp_path, n_mutants, chance):
    path = tmp_path / "state.pt"
    save_state(path, {"weights": torch.arange(6.0), "epoch": 3})
    content = path.read_bytes()
    for _ in range(n_mutants):
        path.write_bytes(damage(content, chance))
        survive(lambda: load_state(path), CheckpointError)


def test_damaged_configs(tmp_path, n_mutants, chance):
    path = tmp_path / "c.yaml"
    RunFolder.create(tmp_path / "run", Config(), tmp_path)
    content = (tmp_path / "run/config.yaml").read_bytes()
    for _ in range(n_mutants // 2):
        path.write_bytes(damage_yaml(content, chance))
        survive(lambda: load_config(path), ConfigError)


def test_a_config_whose_aliases_multiply_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    path.write_text("\n".join(bomb))
    with pytest.raises(ConfigError):
        load_config(path)


def test_damaged_metadata(n_mutants, chance):
    content = metadata_of(untrained()).to_json().encode()
    for _ in range(n_mutants):
        text = damage_json(content, chance).decode(errors="replace")
        survive(partial(ModelMetadata.from_json, text, "model"), MetadataError)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_damaged_exports(kind, exported, tmp_path, n_mutants, chance):
    path = tmp_path / f"c.{kind}"
    content = exported[kind].path.read_bytes().replace(b"ecgmtl-seal:", b"no-checksum:")  # which would refuse them all
    signals = np.zeros((1, 12, 1000), np.float32)
    for _ in range(n_mutants if kind == "onnx" else n_mutants // 20):
        path.write_bytes(damage(content, chance))
        survive(lambda: load_predictor(str(path)).logits(signals), (MetadataError, PredictorError))


def test_damaged_comparisons(tmp_path, n_mutants, chance):
    write_comparison(tmp_path, arms=("single",), n_seeds=1)
    paths = (result_path(tmp_path, "single", 0), tmp_path / "truth.npz")
    whole = [path.read_bytes() for path in paths]
    for i in range(n_mutants):
        path, content = paths[i % 2], whole[i % 2]
        path.write_bytes((damage if i % 2 else damage_json)(content, chance))
        survive(lambda: read_comparison(tmp_path), ComparisonError)
        path.write_bytes(content)
