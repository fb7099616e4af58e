"""Export of a classifier to ONNX, a torch program or an MLflow model, which is compared with its checkpoint first."""

import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from data_prep.extras import import_extra
from data_prep.files import writing
from data_prep.record import Record
from data_prep.store.open import Store
from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from data_prep.units import MICROVOLTS
from data_prep.words import counted
from ecgmtl import __version__
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config.run import Config
from ecgmtl.data.split import AT_A_TIME
from ecgmtl.export.format import ExportError, ExportFormat, require_path
from ecgmtl.inference.metadata import ModelMetadata
from ecgmtl.inference.mlflow_files import COLUMN
from ecgmtl.inference.onnx_predictor import MLFLOW_ONNX
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.seal import KEY, OPEN, seal
from ecgmtl.inference.table import TEXTS, columns
from ecgmtl.inference.torch_predictors import EXTRA, metadata_of
from ecgmtl.metrics.sigmoid import sigmoid
from ecgmtl.metrics.typicality import fit_typicality
from ecgmtl.model.heads import pool
from ecgmtl.model.network import MAIN, MultiTaskModel, mark, read_labels

TOLERANCE = 1e-5
"""Largest allowed difference of a probability between the checkpoint and the export."""


N_COMPARED = 64
"""Number of records on which an export is compared with its checkpoint."""


class ExportReport(NamedTuple):
    """Outcome of an export."""

    path: Path
    size_bytes: int
    max_difference: float
    """Largest difference of a probability from the checkpoint's."""
    n_records: int

    @property
    def summary(self) -> str:
        return (
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, probabilities differ by at most {self.max_difference:.1e} "
            f"on {counted(self.n_records, 'record')}"
        )


class ClassifierOnly(nn.Module):
    """Classifier and forest with the layers they read, without the decoder, other classifiers and their encoder."""

    def __init__(self, model: MultiTaskModel) -> None:
        super().__init__()
        self.standardize, self.classifier, self.forest = model.standardize, model.heads[MAIN], model.forest
        self.encoder = model.encoder.for_task(MAIN)

    def forward(self, signals: Float[Tensor, "batch lead time"]) -> Float[Tensor, "batch label"]:
        features = self.encoder(mark(self.standardize(signals), None))
        return read_labels(self.classifier, self.forest, pool(features), signals)


def export(
    stored: Checkpoint,
    to: str,
    out: Path,
    signals: Float[Tensor, "record lead time"],
    score: str = "",
    card: str = "",
) -> ExportReport:
    """Write the classifier to `out` and compare it with the checkpoint on `signals`, in mV.

    The score, in words, and the model card travel in its metadata.

    Raises:
        ExportError: `to` is not a known format, the result differs from the checkpoint, or `out` cannot be written.
        MissingExtraError: the format needs a package that is not installed.
    """
    form = require_path(to, out)
    if not len(signals):
        raise ExportError(f"{out}: there is no record to compare the export on.")
    metadata = metadata_of(stored).model_copy(update={"score": score, "card": card})
    with writing(out, ExportError):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
            beside = Path(folder) / ("classifier" if form.is_folder else f"classifier.{form}")
            with quiet():
                WRITERS[form](stored, metadata, beside)
                difference = compare(stored, beside, signals)
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
            beside.replace(out)
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    return ExportReport(out, sum(path.stat().st_size for path in files), difference, len(signals))


def signals_to_compare(config: Config, store: Store | None) -> Float32[np.ndarray, "record 12 time"]:
    """Return signals in mV from a prepared folder, or synthetic ones preprocessed as the model needs them."""
    if store is not None:
        return store.read_millivolts(np.arange(len(store.records))[:N_COMPARED])
    preprocess, fs = config.preprocess, config.preprocess.fs
    ecgs = (synthesize(["NORM", "SR"], fs, preprocess.seconds, np.random.default_rng(i)) for i in range(N_COMPARED))
    records = (Record(f"synthetic {i}", (ecg / MICROVOLTS).astype(np.float32), fs, LEADS) for i, ecg in enumerate(ecgs))
    return np.stack([preprocess(record).signal for record in records])


def add_typicality(stored: Checkpoint, store: Store) -> Checkpoint:
    """Return the checkpoint with the typicality that it lacks, if the store holds the data that it was trained on."""
    if stored.typicality is not None or stored.provenance.get("data_sha256") != store.sha256:
        return stored

    def batches(split: str) -> Iterator[Float32[np.ndarray, "record lead time"]]:
        rows = store.rows_of(split)
        for first in range(0, len(rows), AT_A_TIME):
            yield store.read_millivolts(rows[first : first + AT_A_TIME])

    typicality = fit_typicality(batches("train"), batches("validation"), stored.config.preprocess.fs)
    return replace(stored, typicality=typicality)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' warnings, which are about their own deprecations and packages that are not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "mlflow", "mlflow.pyfunc")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def compare(stored: Checkpoint, path: Path, signals: Float[Tensor, "record lead time"]) -> float:
    """Return the largest difference of any probability, over batches of one, two, seven and all records.

    Raises:
        ExportError: the difference is more than 1e-5, or not a number.
    """
    predictor, values = load_predictor(str(path)), signals.numpy()
    with torch.inference_mode():
        expected = stored.model.classify(signals).double().sigmoid().numpy()
    worst = 0.0
    for size in {1, 2, 7, len(values)}:
        exported = sigmoid(predictor.logits(values[:size]))
        worst = max(worst, float(np.abs(exported - expected[:size]).max()))
    if not worst <= TOLERANCE:
        raise ExportError(
            f"{path.name}: its probabilities differ from the checkpoint's by {worst:.1e}, more than {TOLERANCE:.0e}; "
            "it was not kept."
        )
    return worst


def example(stored: Checkpoint) -> Float[Tensor, "2 lead time"]:
    """Return noise in the shape of two records. Exporters store it in the file, so it must be nobody's ECG."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, 12, stored.config.preprocess.n_samples, generator=generator)


def write_onnx(stored: Checkpoint, metadata: ModelMetadata, path: Path) -> None:
    """Write an ONNX file."""
    for package in ("onnx", "onnxscript"):  # the exporter needs the other
        import_extra(package, "--to onnx")
    import onnx

    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        ClassifierOnly(stored.model).eval(),
        (example(stored),),
        input_names=["signals"],
        output_names=["logits"],
        dynamic_shapes={"signals": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ExportError(
            f"{path.name}: torch's exporter returned no program, which is a bug; report it with the version of torch."
        )
    proto = program.model_proto
    for part in (proto.graph, *proto.functions):
        forget_origin(part)
    onnx.helper.set_model_props(proto, {"ecgmtl": metadata.to_json(), KEY: OPEN})
    onnx.save(proto, path)
    seal(path)


def forget_origin(part: Any) -> None:
    """Remove what torch notes on each node of an ONNX graph: the line of code, in folders of this machine."""
    for field, value in part.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            part.ClearField(field.name)
        elif field.message_type is not None:
            for child in value if isinstance(value, Sequence) else [value]:
                forget_origin(child)


def export_program(stored: Checkpoint) -> torch.export.ExportedProgram:
    """Export the classifier to a torch program for batches of any size."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        ClassifierOnly(stored.model).eval(), (example(stored),), dynamic_shapes={"signals": {0: batch}}
    )
    forget_traces(program)
    return program


def forget_traces(program: torch.export.ExportedProgram) -> None:
    """Remove what torch notes on each node of its own program: lines of code, in folders of this machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def write_pt2(stored: Checkpoint, metadata: ModelMetadata, path: Path) -> None:
    """Write a torch program."""
    buffer = io.BytesIO()  # torch's own writer prints a C++ stack trace on a full disk
    torch.export.save(export_program(stored), buffer, extra_files={EXTRA: metadata.to_json()})
    path.write_bytes(buffer.getvalue())


def write_mlflow(stored: Checkpoint, metadata: ModelMetadata, path: Path) -> None:
    """Write the folder of an MLflow model."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    # MLflow names columns of tables alone: a tensor has one name. The output's name therefore lists the labels in the
    # order of its columns. The input has no name, because MLflow refuses plain arrays for named inputs.
    shape = (-1, 12, stored.config.preprocess.n_samples)
    logits = f"logits: {', '.join(stored.label_names)}"
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype("float32"), shape)]),
        Schema([TensorSpec(np.dtype("float32"), (-1, len(stored.label_names)), logits)]),
    )
    mlflow.pytorch.save_model(
        ClassifierOnly(stored.model).eval(),
        str(path),
        signature=signature,
        input_example=example(stored).numpy(),
        metadata={"ecgmtl": metadata.to_json()},
        serialization_format="pt2",
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "mlflow", "numpy"],
    )
    for file in path.rglob("*.pt2"):  # which MLflow exported itself
        program = torch.export.load(file)
        forget_traces(program)
        torch.export.save(program, file)


def write_mlflow_files(stored: Checkpoint, metadata: ModelMetadata, path: Path) -> None:
    """Write the folder of an MLflow model that takes ECG files or arrays, and needs ecgmtl but no torch."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    file = path.with_name(MLFLOW_ONNX)
    write_onnx(stored, metadata, file)
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string if name in TEXTS else DataType.double, name, required=False)
        for name in columns(metadata.label_names)
    ]
    preprocess = metadata.preprocess
    ecg = synthesize(["NORM", "SR"], preprocess.fs, preprocess.seconds, np.random.default_rng(0)).T / MICROVOLTS
    mlflow.pyfunc.save_model(
        str(path),
        loader_module="ecgmtl.inference.mlflow_files",
        data_path=str(file),
        signature=ModelSignature(Schema([ColSpec(AnyType(), COLUMN)]), Schema(outputs)),  # type: ignore[no-untyped-call]
        input_example=pd.DataFrame({COLUMN: [ecg.round(3).tolist()]}),
        metadata={"ecgmtl": metadata.to_json()},
        pip_requirements=[f"ecgmtl=={__version__}", "mlflow", "onnxruntime"],
    )
    file.unlink()


WRITERS: dict[ExportFormat, Callable[[Checkpoint, ModelMetadata, Path], None]] = {
    ExportFormat.ONNX: write_onnx,
    ExportFormat.PT2: write_pt2,
    ExportFormat.MLFLOW: write_mlflow,
    ExportFormat.MLFLOW_FILES: write_mlflow_files,
}
