"""`ecgmtl predict`: one row per ECG, in a table or on screen. Only what the model needs is imported."""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from data_prep.safe_text import printable, printable_lines
from ecgmtl.cli.options import (
    ONLY_READ,
    Engine,
    FollowLinks,
    Fs,
    Leads,
    Unit,
    Workers,
    engine_of,
    local,
    read_options,
    share_of,
)
from ecgmtl.cli.terminal import progress_bar, spoken_errors

if TYPE_CHECKING:
    from data_prep.places import File
    from data_prep.readers import OtherFile, ReadOptions
    from data_prep.share import Share
    from ecgmtl.inference.parts import Job, Part, Piece
    from ecgmtl.inference.predict import Failure, Prediction
    from ecgmtl.inference.predictor import Predictor
    from ecgmtl.inference.table import Write
    from ecgmtl.report_page.page import Add

    Run = Callable[[Job, Iterable[Piece]], Generator[Part, None, None]]


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="ECG files, folders or globs, in any format of docs/own-data.md, or their remote addresses: "
            "s3://bucket/folder/, https://host/file.hea (docs/cluster.md). The first argument may be a model instead: "
            "a run (its folder, or its name in runs/), a checkpoint (.safetensors), an exported .onnx or .pt2 file, an "
            "MLflow model folder, or an MLflow URI (runs:/…, models:/…). Without one, the bundled model is used. "
            "`ecgmtl models` lists the models.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Table to write, ending in .csv, .parquet or .jsonl, or a folder of parts in Parquet, ending in /. "
            "Default: print the predictions.",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Write every N-th part of the folder --out, starting with the I-th, as job I of N. Default: all "
            "parts.",
            show_default=False,
        ),
    ] = None,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    workers: Workers = 0,
    engine: Engine = "local",
    batch: Annotated[int, typer.Option(min=1, help="Records per batch. Larger is faster and takes more memory.")] = 64,
    window: Annotated[
        Literal["first", "best", "all"],
        typer.Option(
            help="Window to predict if a recording is longer than the model's input: the first, the best (the fewest "
            "findings and the least noise), or the mean over all windows."
        ),
    ] = "first",
    report: Annotated[
        Path | None,
        typer.Option(
            callback=local,
            help="HTML report to write, ending in .html: each ECG on clinical paper, with its prediction explained.",
        ),
    ] = None,
    report_details: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of records with all details in the report: the signal as read, the reconstruction and the "
            "explanation. The same number of further records with findings get all details, too.",
        ),
    ] = 100,
    reconstruction_error: Annotated[
        bool,
        typer.Option(
            "--reconstruction-error/--no-reconstruction-error",
            help="Whether a checkpoint also reconstructs each record, and makes no decision if the error exceeds 1 mV. "
            "Exported models cannot do this. It takes a third of the time.",
        ),
    ] = True,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Count records without a decision as failed, and also exit with 3 if there are files of unknown "
            "formats.",
        ),
    ] = False,
    warn_ood: Annotated[
        bool | None,
        typer.Option(
            "--warn-ood/--no-warn-ood",
            help="Detect records that are unlike the training records (out of distribution), and make no decision on "
            "them. About 1 % of ordinary records are affected. Default: on for every model that supports it; "
            "--warn-ood refuses a model that does not.",
            show_default=False,
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of unexpected errors.")] = False,
) -> None:
    """Predict diagnoses for ECG files.

    Each record gets probabilities, calibrated probabilities, decisions and warnings.

    Example: ecgmtl predict my-ecg.xml

    Example: ecgmtl predict runs/mine recordings/ --out predictions.csv

    No decision is made, and its columns are empty, if a lead is noise or spans more than 20 mV, if half of the leads
    are too large, if the limb leads contradict each other, if the arm electrodes are probably exchanged, if two leads
    are the same, if the stated sampling rate is probably wrong, if the record is unlike the training records, or if the
    reconstruction error exceeds 1 mV. The warnings begin with the reason. The last check needs a decoder: checkpoints
    have one, exported models (.onnx, .pt2, MLflow) do not. docs/quality.md describes all checks.

    On screen, each label has its calibrated probability, with a star where the decision is yes.

    The table has a row for each record. A WFDB record that consists of several segments is one record; a segment has a
    row of its own only if you pass its path. Other files in a folder (formats without a reader, tables, notes) are
    counted and listed.

    The report is one page that needs no network. Its first --report-details records, and as many further ones with
    findings, have all details, which take a fraction of a second each. The others have the signal that the model reads.

    A table is written in parts by --workers processes. If the command is interrupted, finished parts are kept in the
    folder TABLE.partial beside the table, and the same command continues from there. It starts over if the model or an
    option has changed, and predicts the parts again whose files have changed. With --report, or without --out, one
    process predicts everything, and nothing is kept after an interruption.

    If --out ends in /, it is a folder, and the parts stay in it as Parquet files. Only missing parts, and those whose
    files have changed, are predicted. Several machines that share the folder can write it together: each runs the same
    command with a different --part. The folder is refused if the model, an option or the list of files has changed
    since the folder was begun. docs/cluster.md has an example.

    Exit codes: 0, every record was predicted. 1, none was. 2, the command line was wrong. 3, some records failed and
    the others were predicted; with --strict also if there are files of unknown formats. With --strict, a record on
    which no decision is made becomes a failed row with the reason and without probabilities.

    Text that a spreadsheet would run as a formula is escaped in the table: a path becomes ./=cmd.csv, and a message
    '=cmd.csv. Control characters are written as escape sequences.
    """
    outputs = Outputs.parse(out, part, report, report_details)
    with spoken_errors(outputs.advice):
        from ecgmtl.inference.models import split_model

        model, paths = split_model(arguments)
        read = read_options(fs, unit, leads, follow_links)
        how = How(read, batch, window, strict, reconstruction_error, warn_ood, workers, engine)
        counts = predict_to(model, paths, outputs, how, debug)
    raise typer.Exit(counts.exit_code(strict))


class How(NamedTuple):
    """Settings of a prediction, as the command line has them."""

    read: "ReadOptions"
    batch: int
    window: str = "first"
    strict: bool = False
    reconstruction_error: bool = True
    warn_ood: bool | None = None
    workers: int = 0
    engine: Engine = "local"

    def run(self) -> "Run":
        """Return the function that predicts parts, with its engine and workers."""
        from data_prep.parallel import in_order
        from ecgmtl.inference.parts import predict_in_parts

        engine, workers = engine_of(self.engine, self.workers, in_order)
        return partial(predict_in_parts, workers=workers, engine=engine)

    @property
    def n_threads(self) -> int:
        """Number of threads in which each worker computes."""
        from data_prep.parallel import n_cores

        return max(n_cores() // (self.workers or n_cores()), 1) if self.engine == "local" else 1


class Counts(NamedTuple):
    """Numbers of files by outcome."""

    ok: int
    failed: int
    without_reader: int
    """Files that may be ECGs, in formats that are not read."""

    def exit_code(self, strict: bool) -> int:
        """Return the exit code of the command. `strict` counts files without a reader as failed.

        Without a result, the share of the parts is empty, which is not a failure.
        """
        if not self.ok and self.failed:
            return 1
        return 3 if self.failed or (strict and self.without_reader) else 0


class Outputs(NamedTuple):
    """Files to write. Where both are None, predictions are printed."""

    table: Path | None
    report: Path | None = None
    n_detailed: int = 0
    """Number of records with all details in the report, and of further records with findings that have them."""
    share: "Share | None" = None
    """Share of the parts that is written. None unless `table` is a folder of them."""

    @classmethod
    def parse(cls, out: str | None, part: str | None, report: Path | None, n_detailed: int) -> "Outputs":
        """Return the outputs that the command line names.

        Raises:
            typer.BadParameter: they do not go together, or `part` is not a share.
        """
        from data_prep.places import is_remote

        if out is not None and is_remote(out):
            raise typer.BadParameter(f"--out: {ONLY_READ}")
        if out is None or not out.endswith(("/", os.sep)):
            if part is not None:
                raise typer.BadParameter("--part writes a folder; name one with --out, ending in /.")
            return cls(None if out is None else Path(out), report, n_detailed)
        if report is not None:
            raise typer.BadParameter("--report is written with one table; let --out end in .csv, .parquet or .jsonl.")
        from data_prep.share import Share

        return cls(Path(out), share=Share() if part is None else share_of(part))

    @property
    def written(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.table, self.report) if path is not None)

    @property
    def in_parts(self) -> bool:
        """Whether nothing but a table is written, which can be continued."""
        return self.table is not None and self.report is None

    def advice(self) -> str:
        """Return what to do after an interruption."""
        if not self.in_parts:
            return "stopped."
        return "stopped; finished parts are kept, and the same command continues from here."


@dataclass
class Tally:
    """Results so far."""

    ok: int = 0
    failed: int = 0
    undecided: int = 0
    kept: int = 0
    """Number of results that are an earlier run's."""
    n_parts: int = 0
    """Number of parts of the table."""
    others: "list[OtherFile]" = field(default_factory=list)

    def only_records(self, files: "Iterable[File | OtherFile]") -> "Iterator[File]":
        """Yield the records among files, and keep the others."""
        from data_prep.readers import OtherFile

        for file in files:
            if isinstance(file, OtherFile):
                self.others.append(file)
            else:
                yield file

    def add(self, result: "Prediction | Failure | OtherFile") -> None:
        from data_prep.readers import OtherFile
        from ecgmtl.inference.predict import Prediction

        if isinstance(result, OtherFile):
            self.others.append(result)
        elif isinstance(result, Prediction):
            self.ok, self.undecided = self.ok + 1, self.undecided + (result.undecided is not None)
        else:
            self.failed += 1

    def add_part(self, part: "Part") -> None:
        self.ok, self.failed = self.ok + part.ok, self.failed + part.failed
        self.undecided, self.n_parts = self.undecided + part.undecided, self.n_parts + 1
        self.kept += part.kept * (part.ok + part.failed)


def predict_to(model: str, paths: list[str], outputs: Outputs, how: How, debug: bool = False) -> Counts:
    """Predict for all files that `paths` name, and write a table and a report, or print.

    Failures are rows of the table. They are also printed to stderr as they occur. With `strict` a record without a
    decision is a failure.

    Raises:
        PredictionsFileError, ReportError: the table or the report has an unknown suffix.
        PredictorError: the model does not exist or cannot tell what it should, there is no ECG file, or an ECG would be
            replaced.
    """
    from data_prep.readers import summarize
    from data_prep.readers.other_files import Kind

    require_suffixes(outputs)
    refuse_to_replace(outputs, how.read)
    tally = (write_parts if outputs.in_parts else stream)(model, paths, outputs, how, debug)
    without = f" ({tally.undecided} without a decision)" if tally.undecided else ""
    where = "".join(f"; {printable(str(path))}" for path in outputs.written)
    if tally.kept:
        typer.echo(f"{records(tally.kept)} predicted before and kept", err=True)
    typer.echo(f"{records(tally.ok)} predicted{without}, {tally.failed} failed{where}", err=True)
    for line in summarize(tally.others):
        typer.echo(line, err=True)
    return Counts(tally.ok, tally.failed, sum(other.kind is Kind.NO_READER for other in tally.others))


def write_parts(model: str, paths: list[str], outputs: Outputs, how: How, debug: bool) -> Tally:
    """Predict part by part, with several processes, what earlier runs have not finished."""
    from ecgmtl.inference.parts import Job, load_once
    from ecgmtl.inference.windows import Window

    assert outputs.table is not None  # noqa: S101, `Outputs.in_parts`
    predictor, digest = load_once(model, how.n_threads, how.reconstruction_error, how.warn_ood)
    introduce(model, predictor)
    job = Job(
        model,
        digest,
        outputs.table,
        how.read,
        how.batch,
        Window(how.window),
        how.strict,
        how.reconstruction_error,
        how.warn_ood,
        how.n_threads,
        keeps_parts=outputs.share is not None,
    )
    if outputs.share is None:
        return write_table(job, paths, how.run(), debug)
    return write_share(job, outputs.share, paths, how.run(), debug)


def write_table(job: "Job", paths: list[str], run: "Run", debug: bool) -> Tally:
    """Predict into parts, and join them into a table."""
    from data_prep.readers import find_files
    from ecgmtl.inference.parts import discard, finish, partial_folder, partial_table, pieces_of

    tally, written = Tally(), (job.out, partial_folder(job.out))
    with (
        partial_table(job) as differences,
        prediction_bar(lambda: count_records(paths, job.options, written)) as advance,
    ):
        if differences:
            reason = f"an interrupted run had a different value of {', '.join(differences)}"
            typer.echo(printable(f"{job.out}: starts over, because {reason}"), err=True)
        files = tally.only_records(find_files(paths, job.options, written))
        run_parts(run(job, pieces_of(job, files)), tally, advance, debug)
        if not tally.n_parts:
            discard(job)
        refuse_nothing(paths, tally.n_parts, tally)
        finish(job, tally.n_parts)
    return tally


def write_share(job: "Job", share: "Share", paths: list[str], run: "Run", debug: bool) -> Tally:
    """Predict one share of a folder of parts."""
    from data_prep.readers import find_files
    from ecgmtl.inference.shares import Listing, count_finished, shared_folder

    tally = Tally()
    listing = Listing.of(job, tally.only_records(find_files(paths, job.options, (job.out,))), share)
    refuse_nothing(paths, listing.n_files, tally)
    with shared_folder(job, listing, share), prediction_bar(lambda: listing.n_files_of_share) as advance:
        run_parts(run(job, listing.pieces), tally, advance, debug)
    typer.echo(f"{count_finished(job)} of {listing.n_parts} parts are finished", err=True)
    return tally


def run_parts(parts: "Generator[Part, None, None]", tally: Tally, advance: Callable[[int], None], debug: bool) -> None:
    """Count the results of parts as they are predicted, and show their failures."""
    with closing(parts):
        for part in parts:
            tally.add_part(part)
            for path, reason, traceback in part.failures:
                show_failure(path, reason, traceback if debug else "")
            advance(tally.ok + tally.failed)


def stream(model: str, paths: list[str], outputs: Outputs, how: How, debug: bool) -> Tally:
    """Predict one batch after the other, for the screen or a report."""
    from data_prep.readers import OtherFile
    from ecgmtl.inference.predict import Failure, Prediction, fail_undecided, predict
    from ecgmtl.inference.predictor import load_predictor, with_typicality
    from ecgmtl.inference.table import row_of
    from ecgmtl.inference.windows import Window

    predictor = load_predictor(model, reconstruction_error=how.reconstruction_error)
    predictor = with_typicality(predictor, model, how.warn_ood)
    name = introduce(model, predictor)
    tally = Tally()
    with (
        table(predictor.metadata.label_names, outputs.table) as write,
        report_page(outputs, predictor, name) as add,
        prediction_bar(lambda: count_records(paths, how.read, outputs.written), bool(outputs.written)) as advance,
    ):
        keeps = outputs.report is not None
        results = predict(predictor, paths, how.read, how.batch, outputs.written, keeps, Window(how.window))
        while chunk := list(islice(results, how.batch)):
            if how.strict:
                chunk = [each if isinstance(each, OtherFile) else fail_undecided(each) for each in chunk]
            write([row_of(result) for result in chunk if isinstance(result, Prediction | Failure)])
            for result in chunk:
                add(result)
                tally.add(result)
                if isinstance(result, Failure):
                    show_failure(str(result.path), result.reason, result.traceback if debug else "")
                elif isinstance(result, Prediction) and not outputs.written:
                    typer.echo(line_of(result))
            advance(tally.ok + tally.failed)
        refuse_nothing(paths, tally.ok + tally.failed, tally)
    return tally


def records(count: int) -> str:
    """Return the number of records in words."""
    return "1 record" if count == 1 else f"{count} records"


def introduce(model: str, predictor: "Predictor") -> str:
    """Return the model's name for people. Say it if the model is the bundled one, and the device if it may be a GPU."""
    from ecgmtl.inference.models import BUNDLED, name_of
    from ecgmtl.inference.predictor import OnDevice

    if isinstance(predictor, OnDevice):
        typer.echo(f"device: {predictor.device_name}", err=True)
    name = name_of(model)
    if name == BUNDLED:
        typer.echo(f"model: {name}, bundled with ecgmtl; {predictor.metadata.score}", err=True)
    return name


def refuse_nothing(paths: list[str], n_files: int, tally: Tally) -> None:
    """Raise PredictorError if there was no ECG file."""
    from data_prep.readers import format_names, summarize
    from ecgmtl.inference.predictor import PredictorError

    if not n_files:
        other_files = "\n".join(["", *summarize(tally.others)])
        raise PredictorError(f"{', '.join(paths)}: no ECG file found; the formats are {format_names()}.{other_files}")


def require_suffixes(outputs: Outputs) -> None:
    """Raise PredictionsFileError or ReportError if the table or the report has an unknown suffix."""
    if outputs.table is not None and outputs.share is None:
        from ecgmtl.inference.table import format_of

        format_of(outputs.table)
    if outputs.report is not None:
        from ecgmtl.report_page.page import require_page

        require_page(outputs.report)


def refuse_to_replace(outputs: Outputs, options: "ReadOptions") -> None:
    """Raise PredictorError if the table of predictions or the report would replace an ECG."""
    from data_prep.readers import holds_ecg
    from ecgmtl.inference.predictor import PredictorError

    for path, name, option in ((outputs.table, "table", "--out"), (outputs.report, "report", "--report")):
        if path is not None and holds_ecg(path, options):
            raise PredictorError(f"{path} is an ECG, which the {name} would replace; choose another {option}.")


def show_failure(path: str, reason: str, traceback: str) -> None:
    """Print a failure to stderr."""
    typer.echo(printable(f"{path}: {reason}"), err=True)
    if traceback:
        typer.echo(printable_lines(traceback), err=True)


@contextmanager
def prediction_bar(count: Callable[[], int], shows: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if it `shows` and stderr is a terminal; otherwise do nothing.

    The files are counted first, which takes a small fraction of the time to read them.
    """
    if not shows or not sys.stderr.isatty():
        yield lambda _done: None
        return
    total = count()
    with progress_bar("predicting") as bar:
        yield lambda done: bar(done, total)


def count_records(paths: list[str], options: "ReadOptions", written: tuple[Path, ...]) -> int:
    """Return the number of records that `paths` name, read with these options, without the files that are written."""
    from data_prep.readers import OtherFile, find_files

    return sum(not isinstance(file, OtherFile) for file in find_files(paths, options, written))


def report_page(outputs: Outputs, predictor: "Predictor", model: str) -> AbstractContextManager["Add"]:
    """Open the report. Where there is none its results are dropped."""
    if outputs.report is None:
        return nullcontext(lambda _result: None)
    from ecgmtl.report_page.page import open_report

    return open_report(outputs.report, predictor, model, outputs.n_detailed)


def table(label_names: tuple[str, ...], out: Path | None) -> AbstractContextManager["Write"]:
    """Open the table of predictions. Where `out` is None its rows are dropped."""
    from ecgmtl.inference.table import open_predictions

    return nullcontext(lambda _rows: None) if out is None else open_predictions(out, label_names)


def line_of(result: "Prediction") -> str:
    """Return a prediction as one line: each label's calibrated probability, with a star where the decision is yes."""
    labels = (f"{name} {p:.2f}{'*' if result.decisions.get(name) else ' '}" for name, p in result.calibrated.items())
    remarks = f"  ({result.warnings})" if result.warnings else ""
    return printable(f"{result.path}  {'  '.join(labels)}{remarks}")
