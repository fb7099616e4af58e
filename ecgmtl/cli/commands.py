"""What `predict` and `export` do beyond one call: where their input comes from, what is told on the way."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import typer
from jaxtyping import Float32

from data_prep.lead_set import LeadSet
from data_prep.readers import READERS, OtherFile, ReadOptions, find_files, find_records, read_record, summarize
from data_prep.readers.other_files import Kind, names_leads
from data_prep.record import Record
from data_prep.safe_text import printable, printable_lines
from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from ecgmtl import checkpoint
from ecgmtl.checkpoint import model_file
from ecgmtl.cli.terminal import progress_bar
from ecgmtl.config.run import Config
from ecgmtl.data.split import open_for
from ecgmtl.evaluation.evaluate import Further, evaluate_file
from ecgmtl.evaluation.report import as_text
from ecgmtl.inference.predict import Failure, Prediction, predict
from ecgmtl.inference.predictor import Predictor, PredictorError, load_predictor
from ecgmtl.inference.reconstruct import ReconstructError, header_at, reconstruct, write_reconstruction
from ecgmtl.inference.table import Write, open_predictions, row_of
from ecgmtl.tracking.tracker import EXPERIMENT, TrackingError, has_store, open_tracker
from ecgmtl.training.report import N_COMPARED, log_evaluation

N_LABELS_SHOWN = 30
"""Labels that are still listed on a terminal."""


class Counts(NamedTuple):
    ok: int
    failed: int
    without_reader: int
    """Files that may be ECGs, of formats that are not read."""

    def exit_code(self, strict: bool) -> int:
        """Return what the command ends with; `strict` counts files without a reader as failed."""
        if not self.ok:
            return 1
        return 3 if self.failed or (strict and self.without_reader) else 0


def evaluate_to(
    model: Path, data: Path, split: str, protocol: str, out: Path | None, further: Further
) -> tuple[str, Path]:
    """Measure a checkpoint, and add the report to its run where MLflow knows it; give the report's text and folder."""
    model = model_file(model)
    with progress_bar("evaluating") as bar:
        evaluation, folder = evaluate_file(model, data, split, protocol, out, bar, further)
    run_id = evaluation.provenance.get("mlflow_run")
    if run_id and has_store():
        try:
            tracker = open_tracker(EXPERIMENT)
            with tracker.run(f"{model.parent.name} {folder.name}", tags={}, params={}, resume=run_id):
                log_evaluation(tracker, evaluation.summary(), folder, f"{split} {protocol}")
        except TrackingError as error:
            typer.echo(f"the report is not in MLflow: {error}", err=True)
    return as_text(evaluation, N_LABELS_SHOWN), folder


def predict_to(
    model: str, paths: list[str], out: Path | None, options: ReadOptions, batch_size: int, debug: bool = False
) -> Counts:
    """Predict for all files that `paths` name, into a table, or on screen where there is none.

    Failures are told on stderr as they come, by file, and stand in the table.

    Raises:
        PredictorError: there is no model, or nothing to predict for.
    """
    predictor = load_predictor(model)
    refuse_to_replace(out, options)
    ok = failed = undecided = 0
    others: list[OtherFile] = []
    with table(predictor, out) as write, prediction_bar(paths, out) as advance:
        results = predict(predictor, paths, options, batch_size, out)
        while chunk := list(islice(results, batch_size)):
            others += [result for result in chunk if isinstance(result, OtherFile)]
            records = [result for result in chunk if not isinstance(result, OtherFile)]
            write([row_of(result) for result in records])
            for result in records:
                ok, failed = ok + isinstance(result, Prediction), failed + isinstance(result, Failure)
                undecided += isinstance(result, Prediction) and result.undecided is not None
                show(result, out is None, debug)
            advance(ok + failed)
        if not ok + failed:
            there = "\n".join(["", *summarize(others)])
            raise PredictorError(
                f"{', '.join(paths)}: no ECG file is there; files of {', '.join(READERS)} are read.{there}"
            )
    without = f" ({undecided} without a decision)" if undecided else ""
    where = f"; {printable(str(out))}" if out else ""
    typer.echo(f"{ok} records predicted{without}, {failed} failed{where}", err=True)
    for line in summarize(others):
        typer.echo(line, err=True)
    return Counts(ok, failed, sum(other.kind is Kind.NO_READER for other in others))


def refuse_to_replace(out: Path | None, options: ReadOptions) -> None:
    """Raise PredictorError if the table of predictions would replace an ECG."""
    if out is not None and out.suffix == ".csv" and out.is_file() and names_leads(out, options):
        raise PredictorError(f"{out} is an ECG, which the table would replace; name another file after --out.")


def show(result: Prediction | Failure, on_screen: bool, debug: bool) -> None:
    """Print a failure to stderr, and a prediction to stdout where there is no table."""
    if isinstance(result, Prediction):
        if on_screen:
            typer.echo(line_of(result))
        return
    typer.echo(printable(f"{result.path}: {result.reason}"), err=True)
    if debug and result.traceback:
        typer.echo(printable_lines(result.traceback), err=True)


@contextmanager
def prediction_bar(paths: list[str], out: Path | None) -> Iterator[Callable[[int], None]]:
    """A bar with the time left where predictions go into a table and a terminal is watched; elsewhere nothing.

    The files are counted first, which takes a small part of the time that it takes to read them.
    """
    if out is None or not sys.stderr.isatty():
        yield lambda _done: None
        return
    total = sum(isinstance(found, Path) for found in find_files(paths, leave_out=out))
    with progress_bar("predicting") as bar:
        yield lambda done: bar(done, total)


def reconstruct_to(model: Path, file: str, leads: LeadSet, out: Path, options: ReadOptions) -> None:
    """Write a record with all 12 leads, from some of a file's; say which leads are what.

    Raises:
        ReconstructError: the model has no decoder, `file` is not one record, or `out` cannot be written.
        RecordError, CheckpointError: the file or the model cannot be read.
    """
    model = model_file(model)
    if model.suffix in (".onnx", ".pt2") or model.is_dir() or ":/" in str(model):
        raise ReconstructError(
            f"{model}: only a checkpoint (.safetensors, or a run's folder) has the decoder that draws leads."
        )
    header, paths = header_at(out), list(islice(find_records([file]), 2))
    if len(paths) != 1:
        raise ReconstructError(f"{file}: should be one record; {'more than one' if paths else 'none'} is there.")
    found = reconstruct(checkpoint.load(model), read_record(paths[0], options), leads)
    write_reconstruction(found, header, model)
    for warning in found.warnings:
        typer.echo(f"{paths[0]}: {warning}", err=True)
    derived = f"; {', '.join(leads.derived)} derived" if leads.derived else ""
    typer.echo(f"{header}: {leads} measured{derived}; {', '.join(leads.reconstructed)} reconstructed")


@contextmanager
def table(predictor: Predictor, out: Path | None) -> Iterator[Write]:
    if out is None:
        yield forget
        return
    with open_predictions(out, predictor.metadata.label_names) as write:
        yield write


def forget(_rows: list[dict[str, Any]]) -> None:
    """Where no table is asked for."""


def line_of(result: Prediction) -> str:
    """A record on screen: each label's calibrated probability, a star where it is decided for."""
    shown = (f"{name} {p:.2f}{'*' if result.decisions.get(name) else ' '}" for name, p in result.calibrated.items())
    told = f"  ({' '.join(result.remarks)})" if result.remarks else ""
    return printable(f"{result.path}  {'  '.join(shown)}{told}")


def records_to_compare(config: Config, data: Path | None) -> Float32[np.ndarray, "record 12 time"]:
    """Signals in mV: of a prepared folder, or artificial ones, prepared as the model wants them."""
    if data is not None:
        store = open_for(data, config.preprocess)
        return store.read(np.arange(len(store.records))[:N_COMPARED]).astype(np.float32) / 1000
    preprocess, fs = config.preprocess, config.preprocess.fs
    ecgs = (synthesize(["NORM", "SR"], fs, preprocess.seconds, np.random.default_rng(i)) for i in range(N_COMPARED))
    records = (Record(f"synthetic {i}", (ecg / 1000).astype(np.float32), fs, LEADS) for i, ecg in enumerate(ecgs))
    return np.stack([preprocess(record).signal for record in records])
