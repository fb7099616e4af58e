"""`ecgmtl export`: write the classifier of a checkpoint for programs that do not use ecgmtl."""

from pathlib import Path
from typing import Annotated

import typer

from data_prep.safe_text import printable
from ecgmtl.cli.options import Checkpoint, local, local_input
from ecgmtl.cli.terminal import spoken_errors
from ecgmtl.export.format import ExportFormat, ReductionName, require_path

SUFFIXES = [f".{form}" for form in ExportFormat if not form.is_folder]
FOLDERS = [form for form in ExportFormat if form.is_folder]


def export(
    model: Checkpoint,
    to: Annotated[
        ExportFormat,
        typer.Option(
            help=f"Format: {', '.join(f'{form} ({form.description})' for form in ExportFormat)}.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            callback=local,
            help=f"File to write, ending in {' or '.join(SUFFIXES)}; for {' and '.join(FOLDERS)}, a new folder.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            callback=local_input,
            help="Prepared folder with the records on which the export is compared. If the model was made by an older "
            "version and trained on this folder, its export also gets the ability to detect records unlike the "
            "training records. Default: synthetic ECGs.",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="With --to onnx and --data: compute convolutions in 8-bit integers. The file is less than half as "
            "large, and is kept only if the macro AUROC on the validation split falls by at most 0.002.",
        ),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option(
            "--fp16",
            help="With --to onnx and --data: store weights in 16-bit numbers, under the same condition. The file is "
            "smaller, and the computation as fast as in float32.",
        ),
    ] = False,
) -> None:
    """Export the classifier to ONNX, a torch program or MLflow.

    The decoder is left out. The export is compared with the checkpoint and kept only if no probability differs by more
    than 1e-5. Sampling rate, filters, label names, calibration, thresholds, score and model card are stored in the
    file.

    Example: ecgmtl export runs/mine --to onnx --out classifier.onnx
    """
    reduction = reduction_of(int8, fp16)
    if reduction is not None and (to is not ExportFormat.ONNX or data is None):
        raise typer.BadParameter(f"--{reduction} needs --to onnx, and --data with a prepared folder.")
    with spoken_errors():
        require_path(to, out)
        from ecgmtl.export.request import ExportRequest, run_export

        exported = run_export(ExportRequest(model, to, out, data, reduction))
    typer.echo(exported.summary)
    if exported.missing:
        typer.echo(printable(exported.missing), err=True)


def reduction_of(int8: bool, fp16: bool) -> ReductionName | None:
    """Return the reduction that the options name, or None.

    Raises:
        typer.BadParameter: they name two.
    """
    if int8 and fp16:
        raise typer.BadParameter("--int8 and --fp16: choose one of them.")
    return "int8" if int8 else "fp16" if fp16 else None
