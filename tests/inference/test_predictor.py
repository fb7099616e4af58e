import io
import os
import shutil
import zipfile

import onnx
import pytest
import torch

from ecgmtl.inference.metadata import MetadataError
from ecgmtl.inference.predictor import PredictorError, load_predictor


class Payload:
    """What a crafted pickle can do: here, make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def rewritten(source, path, record, content):
    """The archive with other content in the records whose names end in `record`, or with one more."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        names = old.namelist()
        for name in names:
            new.writestr(name, content if name.endswith(record) else old.read(name))
        if not any(name.endswith(record) for name in names):
            new.writestr(f"{names[0].partition('/')[0]}/{record}", content)
    return path


@pytest.mark.parametrize(
    "record", ["data/sample_inputs/model.pt", "serialized_state_dict.pt", "data/constants/opaque_obj_0"]
)
def test_a_crafted_program_is_rejected_and_not_run(exported, tmp_path, record):
    content = io.BytesIO()
    torch.save(Payload(tmp_path / "ran"), content)
    path = rewritten(exported["pt2"].path, tmp_path / "crafted.pt2", record, content.getvalue())
    with pytest.raises(MetadataError, match=r"crafted\.pt2: cannot be opened as an exported program"):
        load_predictor(str(path))
    assert not (tmp_path / "ran").exists()


def test_a_pickled_weight_is_rejected_and_not_run(exported, tmp_path):
    content = io.BytesIO()
    torch.save(Payload(tmp_path / "ran"), content)
    with zipfile.ZipFile(exported["pt2"].path) as archive:
        config = next(name for name in archive.namelist() if name.endswith("weights_config.json"))
        changed = archive.read(config).replace(b'"use_pickle": false', b'"use_pickle": true')
    assert b'"use_pickle": true' in changed
    path = rewritten(exported["pt2"].path, tmp_path / "one.pt2", "weights/weight_0", content.getvalue())
    with pytest.raises(MetadataError, match="pickled tensor"):
        load_predictor(str(rewritten(path, tmp_path / "crafted.pt2", "weights_config.json", changed)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_an_mlflow_model_with_code_or_damage_is_rejected(mlflow_folder, tmp_path):
    sound = mlflow_folder.path
    text = (sound / "MLmodel").read_text()
    for name, changed, said in (
        ("code", text.replace("code: null", "code: code"), "contains Python code"),
        ("torn", "flavors: [", "cannot be opened as an MLflow model"),
        ("metadata", text.replace('{"version": 1', '{"version": 1,,'), "its metadata are damaged"),
    ):
        assert changed != text
        shutil.copytree(sound, tmp_path / name)
        (tmp_path / name / "MLmodel").write_text(changed)
        with pytest.raises(MetadataError, match=said):
            load_predictor(str(tmp_path / name))


@pytest.mark.slow
def test_a_crafted_program_in_an_mlflow_model_is_rejected_and_not_run(mlflow_folder, tmp_path):
    shutil.copytree(mlflow_folder.path, tmp_path / "crafted")
    content = io.BytesIO()
    torch.save(Payload(tmp_path / "ran"), content)
    program = tmp_path / "crafted" / "data" / "model.pt2"
    source = mlflow_folder.path / "data" / "model.pt2"
    rewritten(source, program, "data/constants/opaque_obj_0", content.getvalue())
    with pytest.raises(MetadataError, match="opaque_obj_0, which no export of ecgmtl has"):
        load_predictor(str(tmp_path / "crafted"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "has no metadata of ecgmtl"),
        ('{"vers', r"c\.onnx: its metadata are damaged"),
        ("[]", "its metadata are damaged"),
        ('{"version": 9}', "exported by another version"),
        ('{"version": 1}', "its metadata are damaged"),
    ],
)
def test_unreadable_metadata_are_rejected_with_the_name_of_the_file(exported, tmp_path, metadata, said):
    proto = onnx.load(exported["onnx"].path)
    del proto.metadata_props[:]
    if metadata is not None:
        onnx.helper.set_model_props(proto, {"ecgmtl": metadata})
    onnx.save(proto, tmp_path / "c.onnx")
    with pytest.raises(MetadataError, match=said):
        load_predictor(str(tmp_path / "c.onnx"))


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_an_export_cut_short_is_rejected_without_further_output(exported, tmp_path, capfd, kind):
    content = exported[kind].path.read_bytes()
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MetadataError, match=path.name):
        load_predictor(str(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["none.safetensors", "a.txt", "bad.onnx", "bad.pt2", "folder"])
def test_a_file_that_is_not_a_model_is_rejected_by_name(tmp_path, name):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif name != "none.safetensors":
        (tmp_path / name).write_text("nonsense")
    with pytest.raises((PredictorError, MetadataError), match=name):
        load_predictor(str(tmp_path / name))
