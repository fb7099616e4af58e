"""`ecgmtl predict`: one row per ECG, in a table or on screen. Only what the model needs is imported."""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from ecgmtl.cli.options import (
    ONLY_READ,
    EngineName,
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
from ecgmtl.cli.prediction_output import (
    explain_columns,
    introduce,
    line_of,
    prediction_bar,
    say,
    show_counts,
    show_failure,
)
from ecgmtl.cli.terminal import spoken_errors

if TYPE_CHECKING:
    from data_prep.readers import ReadOptions
    from data_prep.share import Share
    from ecgmtl.inference.counts import Counts
    from ecgmtl.inference.options import PredictOptions
    from ecgmtl.inference.predictor import Predictor
    from ecgmtl.inference.table import Write
    from ecgmtl.inference.write import PredictParts
    from ecgmtl.report_page.page import Add


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
    engine: EngineName = "local",
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

    On screen, each label has its calibrated probability, with a star where the decision is yes.

    No decision is made if a lead is noise or spans more than 20 mV, if half of the leads are too large, if the limb
    leads contradict each other, if electrodes are probably swapped or a chest lead inverted, if two leads are the
    same, if chest leads show other beats than the rest, if all leads stay at one value between beats or repeat
    themselves, if the stated sampling rate is probably wrong, if the record is unlike the training records, or if the
    reconstruction error exceeds 1 mV. The columns of the decisions are then empty, and the warnings begin with the
    reason. The last check needs a decoder: checkpoints have one, exported models (.onnx, .pt2, MLflow) do not.
    docs/quality.md describes all checks.

    The table has a row for each record. A WFDB record that consists of several segments is one record; a segment has a
    row of its own only if you pass its path. Other files in a folder (formats without a reader, tables, notes) are
    counted and listed.

    The report is one page that needs no network. The first --report-details records, and as many further ones with
    findings, are shown with all details, which take a fraction of a second each. The others are shown with only the
    signal that the model reads.

    A table is written in parts by --workers processes. If the command is interrupted, finished parts are kept in the
    folder TABLE.partial beside the table, and the same command continues from there. It starts over if the model or an
    option has changed, and predicts a part again if one of its files has changed. With --report, or without --out, one
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
        from ecgmtl.inference.options import PredictOptions
        from ecgmtl.inference.windows import Window

        model, paths = split_model(arguments)
        read = read_options(fs, unit, leads, follow_links)
        options = PredictOptions(read, batch, Window(window), strict, reconstruction_error, warn_ood)
        counts = predict_to(model, paths, outputs, options, Processes(workers, engine), debug)
    raise typer.Exit(exit_code(counts, strict))


def exit_code(counts: "Counts", strict: bool) -> int:
    """Return the exit code of the command. `strict` counts files without a reader as failed.

    Without a result, the share of the parts is empty, which is not a failure.
    """
    if not counts.ok and counts.failed:
        return 1
    return 3 if counts.failed or (strict and counts.without_reader) else 0


class Processes(NamedTuple):
    """Processes that predict the parts of a table."""

    number: int = 0
    """0 is one for each core, or for each CPU of the cluster."""
    engine: EngineName = "local"

    def predict_parts(self) -> "PredictParts":
        """Return the function that predicts parts in these processes."""
        from data_prep.parallel import in_order
        from ecgmtl.inference.parts import predict_in_parts

        engine, workers = engine_of(self.engine, self.number, in_order)
        return partial(predict_in_parts, workers=workers, engine=engine)

    @property
    def n_threads(self) -> int:
        """Number of threads in which each process computes."""
        from data_prep.parallel import n_cores

        return max(n_cores() // (self.number or n_cores()), 1) if self.engine == "local" else 1


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


def predict_to(
    model: str,
    paths: list[str],
    outputs: Outputs,
    options: "PredictOptions",
    processes: Processes = Processes(),  # noqa: B008, it is immutable
    debug: bool = False,
) -> "Counts":
    """Predict for all files that `paths` name, and write a table and a report, or print.

    Failures are rows of the table. They are also printed to stderr as they occur.

    Raises:
        PredictionsFileError, ReportError: the table or the report has an unknown suffix.
        PredictorError: the model does not exist or cannot detect what it should, there is no ECG file, or an ECG would
            be replaced.
    """
    require_suffixes(outputs)
    refuse_to_replace(outputs, options.read)
    if outputs.in_parts:
        counts = write_parts(model, paths, outputs, options, processes, debug)
    else:
        counts = stream(model, paths, outputs, options, debug)
    show_counts(counts, outputs.written)
    return counts


def write_parts(
    model: str, paths: list[str], outputs: Outputs, options: "PredictOptions", processes: Processes, debug: bool
) -> "Counts":
    """Predict part by part, with several processes, what earlier runs have not finished."""
    from ecgmtl.inference.parts import PredictionJob, load_once
    from ecgmtl.inference.write import PredictionCallbacks, write_share, write_table

    assert outputs.table is not None  # noqa: S101, `Outputs.in_parts`
    predictor, digest = load_once(model, options, processes.n_threads)
    introduce(model, predictor)
    job = PredictionJob(
        model, digest, outputs.table, options, processes.n_threads, keeps_parts=outputs.share is not None
    )
    progress = PredictionCallbacks(prediction_bar, partial(show_failure, debug=debug), say)
    if outputs.share is None:
        return write_table(job, paths, processes.predict_parts(), progress)
    return write_share(job, outputs.share, paths, processes.predict_parts(), progress)


def stream(model: str, paths: list[str], outputs: Outputs, options: "PredictOptions", debug: bool) -> "Counts":
    """Predict one batch after the other, for the screen or a report."""
    from data_prep.files import partials_of, remove_abandoned
    from data_prep.readers import OtherFile
    from ecgmtl.inference.counts import Counts
    from ecgmtl.inference.predict import predict
    from ecgmtl.inference.result import Failure, Prediction, fail_undecided
    from ecgmtl.inference.table import row_of
    from ecgmtl.inference.write import count_records

    predictor = options.load(model)
    name, counts = introduce(model, predictor), Counts()
    read, written, size = options.read, outputs.written, options.batch_size
    for path in written:
        remove_abandoned(path.parent, partials_of(path))
    with (
        table(predictor.metadata.label_names, outputs.table) as write,
        report_page(outputs, predictor, name) as add,
        prediction_bar(lambda: count_records(paths, read, written), bool(written)) as advance,
    ):
        results = predict(predictor, paths, read, size, written, outputs.report is not None, options.window)
        while chunk := list(islice(results, size)):
            if options.strict:
                chunk = [fail_undecided(result) for result in chunk]
            write([row_of(result) for result in chunk if not isinstance(result, OtherFile)])
            for result in chunk:
                add(result)
                counts.add(result)
                if isinstance(result, Failure):
                    show_failure(str(result.path), result.reason, result.traceback, debug)
                elif isinstance(result, Prediction) and not written:
                    if counts.ok == 1:
                        explain_columns(predictor.metadata)
                    typer.echo(line_of(result))
            advance(counts.done)
        counts.require_ecgs(paths, counts.done)
    return counts


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
