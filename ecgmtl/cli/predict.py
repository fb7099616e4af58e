"""`ecgmtl predict`: one row per ECG, in a table or on screen. Only what the model needs is imported."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from ecgmtl.cli.prediction_output import callbacks, show_counts
from ecgmtl.cli.terminal import spoken_errors

if TYPE_CHECKING:
    from data_prep.share import Share
    from ecgmtl.inference.counts import Counts
    from ecgmtl.inference.request import Report

STOPPED, KEPT = "stopped.", "stopped; finished parts are kept, and the same command continues from here."
"""Advice after an interruption of a prediction in one process, and of a table that is written in parts."""


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
    share = parse_share(out, part, report)
    is_in_parts = out is not None and report is None
    with spoken_errors(lambda: KEPT if is_in_parts else STOPPED):
        from data_prep.parallel import in_order
        from ecgmtl.inference.models import split_model
        from ecgmtl.inference.options import PredictOptions
        from ecgmtl.inference.request import PredictionRequest, run_prediction
        from ecgmtl.inference.windows import Window

        model, paths = split_model(arguments)
        read = read_options(fs, unit, leads, follow_links)
        options = PredictOptions(read, batch, Window(window), strict, reconstruction_error, warn_ood)
        run_parts, at_once = engine_of(engine, workers, in_order)
        request = PredictionRequest(
            model,
            paths,
            options,
            table=None if out is None else Path(out),
            share=share,
            report=report_of(report, report_details),
            engine=run_parts,
            workers=at_once,
        )
        counts = run_prediction(request, callbacks(debug))
        show_counts(counts, request.written)
    raise typer.Exit(exit_code(counts, strict))


def parse_share(out: str | None, part: str | None, report: Path | None) -> "Share | None":
    """Return the share of the parts to write if the output is a folder of parts, which ends in /, otherwise None.

    Raises:
        typer.BadParameter: the options do not go together, or `part` is not a share.
    """
    from data_prep.places import is_remote

    if out is not None and is_remote(out):
        raise typer.BadParameter(f"--out: {ONLY_READ}")
    if out is None or not out.endswith(("/", os.sep)):
        if part is not None:
            raise typer.BadParameter("--part writes a folder; name one with --out, ending in /.")
        return None
    if report is not None:
        raise typer.BadParameter("--report is written with one table; let --out end in .csv, .parquet or .jsonl.")
    from data_prep.share import Share

    return Share() if part is None else share_of(part)


def report_of(path: Path | None, n_detailed: int) -> "Report | None":
    """Return the report to write, or None.

    Raises:
        ReportError: its name does not end in .html.
    """
    if path is None:
        return None
    from ecgmtl.inference.request import Report
    from ecgmtl.report_page.page import open_report, require_page

    require_page(path)
    return Report(path, partial(open_report, path, n_detailed=n_detailed))


def exit_code(counts: "Counts", strict: bool) -> int:
    """Return the exit code of the command. `strict` counts files without a reader as failed.

    Without a result, the share of the parts is empty, which is not a failure.
    """
    if not counts.ok and counts.failed:
        return 1
    return 3 if counts.failed or (strict and counts.without_reader) else 0
