"""Command line with one file per command, which parses arguments, calls one function, and reports the outcome.

A command imports what it needs when it runs, so `--help` is quick and predicting with an ONNX file needs no torch.
"""

import os
from typing import Annotated

import typer

from ecgmtl import __version__
from ecgmtl.cli import compare, convert, data, evaluate, export, models, predict, reconstruct, serve, show, train, ui

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # importing rich would take longer than the rest of --help
    pretty_exceptions_enable=False,
    help="Multi-task learning on 12-lead ECGs: one network reconstructs the waveform and predicts diagnoses.",
    epilog="First steps: `ecgmtl predict FILE` predicts diagnoses for an ECG with the bundled model. `ecgmtl train` "
    "trains a demonstration model on synthetic ECGs in minutes, and `ecgmtl predict RUN FILE` predicts with the run's "
    "model. For your own records, begin with `ecgmtl data check FOLDER`.",
)
app.command()(train.train)
app.command(options_metavar="[OPTIONS] [MODEL]")(predict.predict)
app.command()(reconstruct.reconstruct)
app.command()(convert.convert)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(compare.compare)
app.command()(models.models)
app.command()(serve.serve)
app.command()(show.show)
app.command()(ui.ui)
app.add_typer(data.data_app, name="data")


def main() -> None:
    """Run the `ecgmtl` command."""
    # OpenMP threads that sleep between operations take 1.5 times as long to train a small network. Threads that spin
    # for long are slower than a single one as soon as anything else runs. So they spin for some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for them reads every package's metadata
    app()


def print_version(wanted: bool) -> bool:
    """Print the version and exit if it is `wanted`. Otherwise return the option's value."""
    if wanted:
        typer.echo(f"ecgmtl {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def take_options(
    # eager, because typer would otherwise import pydantic for its own options first
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=print_version, help="Print the version and exit.")
    ] = False,
) -> None: ...
