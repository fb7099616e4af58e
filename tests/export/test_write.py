import json
import re
import subprocess
import sys
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pandas as pd
import pytest
import torch

import ecgmtl
from data_prep.leads import STANDARD_LEADS
from data_prep.quality.lost_voltage import EACH_LEAD, to_typical
from data_prep.store.open import Store
from data_prep.synthetic.waveform import synthesize
from ecgmtl import checkpoint
from ecgmtl.data.lead_algebra import N_LEADS
from ecgmtl.export.format import ExportError
from ecgmtl.export.write import WRITERS, add_typicality, export
from ecgmtl.inference.metadata import MetadataError
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.model.encoders import EncoderSettings
from ecgmtl.model.forest.forest import KINDS, ForestSettings, grow
from ecgmtl.model.forest.measurements import in_rows, measure
from tests.models import CARD, LABELS, SCORE, predictions, untrained
from tests.trainings import ENCODERS


def report_of(request, kind):
    return request.getfixturevalue("mlflow_folder") if kind == "mlflow" else request.getfixturevalue("exported")[kind]


every_kind = pytest.mark.parametrize("kind", ["onnx", "pt2", pytest.param("mlflow", marks=pytest.mark.slow)])


def texts_of(file):
    """The content of a file, or of each member of an archive."""
    if not zipfile.is_zipfile(file):
        return [file.read_bytes()]
    with zipfile.ZipFile(file) as archive:
        return [archive.read(name) for name in archive.namelist()]


@every_kind
def test_an_export_names_no_folder_of_the_machine_that_wrote_it(request, kind):
    path = report_of(request, kind).path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for folder in (Path(ecgmtl.__file__).parents[1], Path(torch.__file__).parents[1], Path.home()):
        assert not [file.name for file in files for text in texts_of(file) if f"{folder}/".encode() in text]


@every_kind
def test_an_export_predicts_the_same_as_its_checkpoint(request, stored, records, tmp_path, kind):
    checkpoint.save(tmp_path / "model.safetensors", stored)
    report = report_of(request, kind)
    assert (report.max_difference <= 1e-5, report.n_records) == (True, 9)
    for a, b in zip(
        predictions(tmp_path / "model.safetensors", records), predictions(report.path, records), strict=True
    ):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-5)
        assert list(a.calibrated.values()) == pytest.approx(list(b.calibrated.values()), abs=1e-5)
        assert (a.path, a.decisions, a.findings) == (b.path, b.decisions, b.findings)
        assert b.reconstruction_rmse is None


@every_kind
def test_an_export_contains_the_classifier_but_no_decoder(request, stored, kind):
    report = report_of(request, kind)
    files = [report.path] if report.path.is_file() else [p for p in report.path.rglob("*") if p.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"decoder" not in content
    assert report.size_bytes == len(content)
    weights = stored.model.heads["reconstruction"].state_dict()
    assert weights
    large = [value for value in weights.values() if value.numel() > 16]  # the small ones may be all zeros, as others
    assert not any(value.numpy().tobytes() in content for value in large)


def test_an_onnx_file_has_as_many_weights_as_the_classifier(stored, exported):
    kept = {array.name: int(np.prod(array.dims)) for array in onnx.load(exported["onnx"].path).graph.initializer}
    model = stored.model
    wanted = sum(p.numel() for part in (model.encoder, model.heads["classification"]) for p in part.parameters())
    wanted -= model.encoder.trunk.stem[0].weight[:, N_LEADS:].numel()  # of the rows of the mask
    assert wanted - 200 <= sum(kept.values()) <= wanted + 200  # biases are folded, shapes and lead statistics are added


@every_kind
def test_an_export_contains_the_metadata_the_score_and_the_card(request, stored, kind):
    metadata = load_predictor(str(report_of(request, kind).path)).metadata
    assert (metadata.label_names, metadata.label_set) == (LABELS, "superdiagnostic")
    assert (metadata.calibration, metadata.preprocess) == (stored.calibration, stored.config.preprocess)
    assert metadata.lead_mean == tuple(stored.model.standardize.mean.flatten().tolist())
    assert (metadata.score, metadata.card) == (SCORE, CARD)


@pytest.mark.slow
def test_the_signature_of_an_mlflow_model_names_the_labels_and_takes_plain_arrays(mlflow_folder, signals):
    import mlflow

    model = mlflow.pyfunc.load_model(str(mlflow_folder.path))
    (logits,) = model.metadata.signature.outputs.inputs
    assert (logits.name, logits.shape) == (f"logits: {', '.join(LABELS)}", (-1, len(LABELS)))
    assert model.predict(signals[:2].numpy()).shape == (2, len(LABELS))


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("size", [1, 3, 4097])
def test_a_batch_may_be_of_any_size(stored, exported, kind, size):
    batch = 0.2 * torch.randn(3, 12, 1000).repeat(size // 3 + 1, 1, 1)[:size]
    found = load_predictor(str(exported[kind].path)).logits(batch.numpy())
    with torch.inference_mode():
        wanted = stored.model.classify(batch[:3]).numpy()
    np.testing.assert_allclose(found, np.tile(wanted, (size // 3 + 1, 1))[:size], atol=1e-5)


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_flipped_bit_of_an_export_is_detected_or_changes_nothing(stored, signals, exported, kind, tmp_path):
    content, path = exported[kind].path.read_bytes(), tmp_path / f"c.{kind}"
    expected, n_detected = load_predictor(str(exported[kind].path)).logits(signals.numpy()), 0
    for offset in torch.randint(len(content), (25,), generator=torch.Generator().manual_seed(0)).tolist():
        damaged = bytearray(content)
        damaged[offset] ^= 1 << offset % 8
        path.write_bytes(damaged)
        try:
            predictor = load_predictor(str(path))
        except MetadataError:
            n_detected += 1
            continue
        assert np.array_equal(predictor.logits(signals.numpy()), expected)
    assert n_detected > 20


SMALL_ONES = {type(encoder): encoder for encoder in ENCODERS}
EACH_SMALL = [SMALL_ONES.get(kind) or kind() for kind in get_args(get_args(EncoderSettings)[0])]


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
@pytest.mark.parametrize("encoder", EACH_SMALL, ids=lambda encoder: encoder.kind)
def test_every_encoder_is_exported_and_nothing_is_printed(encoder, kind, signals, tmp_path, capfd):
    report = export(untrained(encoder), kind, tmp_path / f"c.{kind}", signals)
    assert report.max_difference <= 1e-5
    assert capfd.readouterr() == ("", "")


def test_onnx_is_predicted_without_torch(exported, records):
    code = (
        "import sys; from ecgmtl.inference.predict import predict; "
        "from ecgmtl.inference.predictor import load_predictor; "
        f"found = list(predict(load_predictor({str(exported['onnx'].path)!r}), [{str(records)!r}])); "
        "assert len(found) == 6; assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_exporting_an_mlflow_model_prints_nothing(stored, signals, tmp_path, capfd):
    export(stored, "mlflow", tmp_path / "c", signals)
    assert capfd.readouterr() == ("", "")


def test_an_export_with_a_changed_weight_is_not_kept(stored, signals, tmp_path, monkeypatch):
    write = WRITERS["pt2"]

    def write_another(other, metadata, path):
        changed = untrained()
        with torch.no_grad():
            next(changed.model.heads["classification"].parameters()).add_(0.01)
        write(changed, metadata, path)

    monkeypatch.setitem(WRITERS, "pt2", write_another)
    (tmp_path / "c.pt2").write_text("the previous one")
    with pytest.raises(ExportError, match=r"differ from the checkpoint's by .* it was not kept"):
        export(stored, "pt2", tmp_path / "c.pt2", signals)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the previous one"]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("onx", "c.onx", "--to onx: is not one of onnx, pt2, mlflow"),
        ("onnx", "c.pt2", r"should end in \.onnx"),
        ("mlflow", "model.safetensors", "is a file, and an MLflow model is a folder"),
        ("mlflow", "full", "is a folder that is not empty"),
        ("onnx", "model.safetensors/c.onnx", "cannot be written"),
    ],
)
def test_an_impossible_export_is_rejected_and_no_file_is_lost(stored, signals, tmp_path, kind, name, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_text("mine")
    (tmp_path / "model.safetensors").write_text("weights")
    with pytest.raises(ExportError, match=said):
        export(stored, kind, tmp_path / name, signals)
    assert (tmp_path / "full/notes").read_text() == "mine"
    assert (tmp_path / "model.safetensors").read_text() == "weights"


def test_an_export_needs_a_record_to_compare(stored, signals, tmp_path):
    with pytest.raises(ExportError, match="no record to compare"):
        export(stored, "onnx", tmp_path / "c.onnx", signals[:0])


@pytest.fixture(scope="module")
def with_forest(stored):
    """A checkpoint with trees, and signals of which half have lost their voltage."""
    signals = torch.randn(80, 12, 1000, generator=torch.Generator().manual_seed(2)).cumsum(dim=-1) / 20
    labels = torch.randn(80, 5, generator=torch.Generator().manual_seed(3)).numpy() > 0
    without = torch.from_numpy(to_typical(signals.numpy(), EACH_LEAD))
    measured = {
        kind: in_rows(measure(some, None, 100.0)).numpy() for kind, some in zip(KINDS, (signals, without), strict=True)
    }
    model = deepcopy(stored.model)
    model.forest = grow(measured, labels, ForestSettings(n_trees=20), 0, 100.0)
    signals[40:] = without[40:]
    return replace(stored, model=model), signals


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_forest_is_exported_with_the_network(stored, with_forest, tmp_path, kind):
    both, signals = with_forest
    report = export(both, kind, tmp_path / f"c.{kind}", signals)
    assert report.max_difference <= 1e-5
    found, network = load_predictor(str(report.path)).logits(signals.numpy()), stored.model.classify(signals)
    assert np.abs(found - network.detach().numpy())[[0, 40]].max(axis=1).min() > 0.1


def test_an_export_of_an_older_model_learns_it_from_the_data_it_was_trained_on(stored):
    ecgs = [synthesize(["NORM", "SR"], 100, 10.0, np.random.default_rng(seed)).T for seed in range(100, 220)]
    signals = np.stack(ecgs * 2).astype(np.int16)
    records = pd.DataFrame({"split": np.repeat(["train", "validation"], 120)})
    store = Store(Path("data"), signals, records, {"sha256": {}, "label_sets": {}})
    trained_on_it = replace(stored, provenance={**stored.provenance, "data_sha256": store.sha256})
    assert add_typicality(trained_on_it, store).typicality.n_validation == 120
    assert add_typicality(stored, store).typicality is None


PAGE = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
BLOCK, TORCH_BLOCK = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def filtering(exported, tmp_path_factory):
    """The exported file, whose metadata ask for a filter, too."""
    program = onnx.load(exported["onnx"].path)
    entry, _ = program.metadata_props
    metadata = json.loads(entry.value)
    entry.value = json.dumps(metadata | {"preprocess": metadata["preprocess"] | {"band": [0.5, 40.0]}})
    program.metadata_props.pop()  # the checksum of the file as it was
    onnx.save(program, path := tmp_path_factory.mktemp("filtering") / "classifier.onnx")
    return path


@pytest.mark.parametrize(("fs", "seconds"), [(100, 10.0), (500, 10.0), (360, 12.0), (250, 6.0)])
def test_the_code_of_the_page_on_exports_gives_the_same_as_the_command(filtering, tmp_path, rng, fs, seconds):
    signal = (synthesize(["NORM", "SR"], fs, seconds, rng) / 1000).astype(np.float32)
    np.savez(tmp_path / "record.npz", signal=signal, fs=fs, leads=STANDARD_LEADS, unit="mV")
    (wanted,) = predictions(filtering, tmp_path / "record.npz")
    names = {"path": str(filtering), "signal": signal.T, "fs": fs}
    exec(compile(BLOCK, "docs/export.md", "exec"), names)
    assert names["metadata"]["label_names"] == list(wanted.probabilities)
    np.testing.assert_allclose(names["raw"], list(wanted.probabilities.values()), atol=1e-6)
    np.testing.assert_allclose(names["probabilities"], list(wanted.calibrated.values()), atol=1e-6)
    assert names["decisions"].tolist() == list(wanted.decisions.values())


def test_the_torch_code_of_the_page_on_exports_gives_the_logits(exported, rng):
    names = {"path": exported["pt2"].path, "x": rng.standard_normal((N_LEADS, 1000)).astype(np.float32)}
    exec(compile(TORCH_BLOCK, "docs/export.md", "exec"), names)
    predictor = load_predictor(str(exported["pt2"].path))
    np.testing.assert_allclose(names["logits"], predictor.logits(names["x"][None]), atol=1e-6)
    assert names["metadata"]["label_names"] == list(predictor.metadata.label_names)
