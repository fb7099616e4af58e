"""`ecgmtl evaluate`: evaluate a checkpoint on a split of a prepared folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ecgmtl.cli.options import Checkpoint, StorePath, lead_set, local
from ecgmtl.cli.terminal import progress_bar, spoken_errors

N_LABELS_SHOWN = 30
"""Largest number of labels that are listed on a terminal."""


def evaluate(
    model: Checkpoint,
    data: StorePath,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Split to evaluate on.")] = "test",
    protocol: Annotated[
        Literal["whole", "helme", "fm-bench"],
        typer.Option(
            help="How records are cut into windows and which records count: whole, or the protocols of two papers, "
            "helme and fm-bench. Scores of different protocols must not be compared."
        ),
    ] = "whole",
    out: Annotated[
        Path | None,
        typer.Option(
            callback=local,
            help="Folder for the report. Default: a folder beside the model.",
            show_default=False,
        ),
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="LEADS",
            help="Also measure how well the other leads are reconstructed from these, for example I,II,V2.",
        ),
    ] = None,
    stress: Annotated[
        bool,
        typer.Option(
            "--stress",
            help="Also run a stress test: the drop in macro AUROC under filters, noise, and swapped or missing leads.",
        ),
    ] = False,
) -> None:
    """Evaluate a checkpoint on a split.

    The report has metrics with 95 % intervals, tables and plots.

    Example: ecgmtl evaluate runs/mine --data data/ptbxl --split test
    """
    with spoken_errors():
        from ecgmtl.checkpoint import model_file
        from ecgmtl.evaluation.evaluate import Further, evaluate_file
        from ecgmtl.evaluation.report import as_text
        from ecgmtl.inference.models import find_model
        from ecgmtl.tracking.tracker import TrackingError
        from ecgmtl.training.report import log_to_run

        further = Further(None if leads is None else lead_set(leads), stress)
        file = model_file(Path(find_model(model)))
        with progress_bar("evaluating") as bar:
            evaluation, folder = evaluate_file(file, data, split, protocol, out, bar, further)
        try:
            log_to_run(evaluation, file, folder, data, split)
        except TrackingError as error:
            typer.echo(f"the report is not in MLflow: {error}", err=True)
        text = as_text(evaluation, N_LABELS_SHOWN)
    typer.echo(text)
    typer.echo(f"report: {folder}")
