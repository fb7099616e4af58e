"""`ecgmtl predict`: one row per ECG, in a table or on screen. Only what the model needs is imported."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from data_prep.safe_text import printable, printable_lines
from ecgmtl.cli.options import FollowLinks, Fs, Leads, Unit, read_options
from ecgmtl.cli.terminal import progress_bar, spoken_errors

if TYPE_CHECKING:
    from data_prep.readers import ReadOptions
    from ecgmtl.inference.predict import Failure, Prediction
    from ecgmtl.inference.predictor import Predictor
    from ecgmtl.inference.table import Write
    from ecgmtl.report_page.page import Add


def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="ECG files, folders or globs, in any format of docs/own-data.md. A model may stand "
            "before them: a run (its folder, or its name in runs/), a checkpoint (.safetensors), an exported .onnx or "
            ".pt2 file, an MLflow model folder, or an MLflow URI (runs:/…, models:/…). Without one, the bundled model "
            "is used. `ecgmtl models` lists the models.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Table to write, ending in .csv, .parquet or .jsonl. Default: print the predictions.",
            show_default=False,
        ),
    ] = None,
    fs: Fs = None,
    unit: Unit = None,
    leads: Leads = None,
    follow_links: FollowLinks = False,
    batch: Annotated[int, typer.Option(min=1, help="Records per batch. Larger is faster and takes more memory.")] = 64,
    window: Annotated[
        Literal["first", "best", "all"],
        typer.Option(
            help="What is predicted of a recording longer than the model's input: its first window, its best one (the "
            "fewest findings and the least noise), or the mean over all of its windows."
        ),
    ] = "first",
    report: Annotated[
        Path | None,
        typer.Option(help="HTML page to write, ending in .html: each ECG on paper, with its prediction explained."),
    ] = None,
    report_details: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of records that have all details in the report: the signal as read, the reconstruction and "
            "the explanation. As many further records with findings have them, too.",
        ),
    ] = 100,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Count records without a decision as failed, and exit with 3 also if there are files of unknown "
            "formats.",
        ),
    ] = False,
    warn_ood: Annotated[
        bool | None,
        typer.Option(
            "--warn-ood/--no-warn-ood",
            help="Tell records that are unlike the training records, and make no decision on them. It concerns about "
            "1 % of ordinary records. Default: on for every model that can tell; --warn-ood refuses one that cannot.",
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
    are the same, or if the reconstruction error exceeds 1 mV. The warnings begin with the reason. The last check needs
    a decoder: checkpoints have one, exported models (.onnx, .pt2, MLflow) do not.

    On screen, each label has its calibrated probability, with a star where the decision is yes.

    The table has a row for each record. A WFDB record that joins segments is one record; its segments have rows of
    their own only if PATHS names them. Other files in a folder (formats without a reader, tables, notes) are counted
    and listed.

    The report is one page that needs no network. Its first --report-details records, and as many further ones with
    findings, have all details, which take a fraction of a second each. The others have the signal that the model reads.

    Exit codes: 0, every record was predicted. 1, none was. 2, the command line was wrong. 3, some records failed and
    the others were predicted; with --strict also if there are files of unknown formats. With --strict a record on which
    no decision is made is a failed row with the reason, and has no probabilities.

    Text that a spreadsheet would run as a formula is escaped in the table: a path as ./=cmd.csv, a message as
    '=cmd.csv. Control characters are written as escape sequences.
    """
    with spoken_errors():
        from ecgmtl.inference.models import split_model

        model, paths = split_model(arguments)
        outputs = Outputs(out, report, report_details)
        read = read_options(fs, unit, leads, follow_links)
        counts = predict_to(model, paths, outputs, read, batch, debug, window, strict, warn_ood)
    raise typer.Exit(counts.exit_code(strict))


class Counts(NamedTuple):
    """Numbers of files by outcome."""

    ok: int
    failed: int
    without_reader: int
    """Files that may be ECGs, in formats that are not read."""

    def exit_code(self, strict: bool) -> int:
        """Return the exit code of the command. `strict` counts files without a reader as failed."""
        if not self.ok:
            return 1
        return 3 if self.failed or (strict and self.without_reader) else 0


class Outputs(NamedTuple):
    """Files to write. Where both are None, predictions are printed."""

    table: Path | None
    report: Path | None = None
    n_detailed: int = 0
    """Number of records with all details in the report, and of further records with findings that have them."""

    @property
    def written(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.table, self.report) if path is not None)


def predict_to(
    model: str,
    paths: list[str],
    outputs: Outputs,
    options: "ReadOptions",
    batch_size: int,
    debug: bool = False,
    window: str = "first",
    strict: bool = False,
    warn_ood: bool | None = None,
) -> Counts:
    """Predict for all files that `paths` name, and write a table and a report, or print.

    Failures are rows of the table. They are also printed to stderr as they occur. With `strict` a record without a
    decision is a failure.

    Raises:
        PredictorError: the model does not exist or cannot tell what it should, or there is no ECG file.
    """
    from data_prep.readers import OtherFile, format_names, summarize
    from data_prep.readers.other_files import Kind
    from ecgmtl.inference.models import BUNDLED, BUNDLED_FILE
    from ecgmtl.inference.predict import Failure, Prediction, fail_undecided, predict
    from ecgmtl.inference.predictor import PredictorError, load_predictor, require_typicality, without_typicality
    from ecgmtl.inference.table import row_of
    from ecgmtl.inference.windows import Window

    predictor = load_predictor(model)
    if warn_ood:
        require_typicality(predictor, model)
    elif warn_ood is not None:
        predictor = without_typicality(predictor)
    name = BUNDLED if model == str(BUNDLED_FILE) else model
    if name == BUNDLED:
        typer.echo(f"model: {BUNDLED}, bundled with ecgmtl; {predictor.metadata.score}", err=True)
    refuse_to_replace(outputs.table, options)
    ok = failed = undecided = 0
    others: list[OtherFile] = []
    with (
        table(predictor.metadata.label_names, outputs.table) as write,
        report_page(outputs, predictor, name) as add,
        prediction_bar(paths, outputs.written) as advance,
    ):
        keeps = outputs.report is not None
        results = predict(
            predictor, paths, options, batch_size, outputs.written, keep_signals=keeps, window=Window(window)
        )
        if strict:
            results = map(fail_undecided, results)
        while chunk := list(islice(results, batch_size)):
            others += [result for result in chunk if isinstance(result, OtherFile)]
            records = [result for result in chunk if not isinstance(result, OtherFile)]
            write([row_of(result) for result in records])
            for result in chunk:
                add(result)
            for result in records:
                ok, failed = ok + isinstance(result, Prediction), failed + isinstance(result, Failure)
                undecided += isinstance(result, Prediction) and result.undecided is not None
                show(result, not outputs.written, debug)
            advance(ok + failed)
        if not ok + failed:
            other_files = "\n".join(["", *summarize(others)])
            raise PredictorError(
                f"{', '.join(paths)}: no ECG file found; the formats are {format_names()}.{other_files}"
            )
    without = f" ({undecided} without a decision)" if undecided else ""
    where = "".join(f"; {printable(str(path))}" for path in outputs.written)
    typer.echo(f"{ok} records predicted{without}, {failed} failed{where}", err=True)
    for line in summarize(others):
        typer.echo(line, err=True)
    return Counts(ok, failed, sum(other.kind is Kind.NO_READER for other in others))


def refuse_to_replace(out: Path | None, options: "ReadOptions") -> None:
    """Raise PredictorError if the table of predictions would replace an ECG."""
    from data_prep.readers.other_files import names_leads
    from ecgmtl.inference.predictor import PredictorError

    if out is not None and out.suffix == ".csv" and out.is_file() and names_leads(out, options):
        raise PredictorError(f"{out} is an ECG, which the table would replace; choose another --out.")


def show(result: "Prediction | Failure", on_screen: bool, debug: bool) -> None:
    """Print a failure to stderr, and a prediction to stdout where there is no table."""
    from ecgmtl.inference.predict import Prediction

    if isinstance(result, Prediction):
        if on_screen:
            typer.echo(line_of(result))
        return
    typer.echo(printable(f"{result.path}: {result.reason}"), err=True)
    if debug and result.traceback:
        typer.echo(printable_lines(result.traceback), err=True)


@contextmanager
def prediction_bar(paths: list[str], written: tuple[Path, ...]) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if predictions go into files and stderr is a terminal; otherwise do nothing.

    The files are counted first, which takes a small fraction of the time to read them.
    """
    if not written or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from data_prep.readers import find_files

    total = sum(isinstance(file, Path) for file in find_files(paths, leave_out=written))
    with progress_bar("predicting") as bar:
        yield lambda done: bar(done, total)


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
