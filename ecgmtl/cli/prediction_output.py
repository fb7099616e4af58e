"""Output of `ecgmtl predict` beside its table and report: the model, a bar, results, failures and counts."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from data_prep.safe_text import printable, printable_lines
from data_prep.words import counted
from ecgmtl.cli.terminal import progress_bar

if TYPE_CHECKING:
    from ecgmtl.inference.counts import Counts
    from ecgmtl.inference.metadata import ModelMetadata
    from ecgmtl.inference.predictor import Predictor
    from ecgmtl.inference.result import Prediction
    from ecgmtl.inference.write import PredictionCallbacks


def say(text: str) -> None:
    """Print a line to stderr."""
    typer.echo(printable(text), err=True)


def callbacks(debug: bool) -> "PredictionCallbacks":
    """Return the callbacks that display a prediction, with the tracebacks of bugs if `debug`."""
    from ecgmtl.inference.write import PredictionCallbacks

    return PredictionCallbacks(introduce, prediction_bar, Lines().show, partial(show_failure, debug=debug), say)


def introduce(model: str, predictor: "Predictor") -> None:
    """Print the name and score of the bundled model, and the device of one that may run on a GPU."""
    from ecgmtl.inference.models import BUNDLED, name_of
    from ecgmtl.inference.predictor import OnDevice

    if isinstance(predictor, OnDevice):
        typer.echo(f"device: {predictor.device_name}", err=True)
    if name_of(model) == BUNDLED:
        typer.echo(f"model: {BUNDLED}, bundled with ecgmtl; {predictor.metadata.score}", err=True)


@contextmanager
def prediction_bar(count: Callable[[], int]) -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal; otherwise do nothing.

    The files are counted first, which takes a small fraction of the time to read them.
    """
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    total = count()
    with progress_bar("predicting") as bar:
        yield lambda done: bar(done, total)


class Lines:
    """Lines on stdout, one for each prediction. What their numbers mean is printed before the first."""

    def __init__(self) -> None:
        self.is_first = True

    def show(self, prediction: "Prediction", metadata: "ModelMetadata") -> None:
        if self.is_first:
            explain_columns(metadata)
        self.is_first = False
        typer.echo(line_of(prediction))


def explain_columns(metadata: "ModelMetadata") -> None:
    """Explain on stderr the numbers and stars of the lines that follow."""
    meanings = ", ".join(f"{name} {meaning}" for name, meaning in metadata.meanings.items())
    say("calibrated probability of each label, with a star where it reaches the label's threshold; for research only")
    if meanings:
        say(f"labels: {meanings}")


def line_of(result: "Prediction") -> str:
    """Return a prediction as one line: each label's calibrated probability, with a star where the decision is yes."""
    labels = (f"{name} {p:.2f}{'*' if result.decisions.get(name) else ' '}" for name, p in result.calibrated.items())
    remarks = f"  ({result.warnings})" if result.warnings else ""
    return printable(f"{result.path}  {'  '.join(labels)}{remarks}")


def show_failure(path: str, reason: str, traceback: str, debug: bool) -> None:
    """Print a failure to stderr, with the traceback of a bug if `debug`."""
    say(f"{path}: {reason}")
    if debug and traceback:
        typer.echo(printable_lines(traceback), err=True)


def show_counts(counts: "Counts", written: Sequence[Path]) -> None:
    """Print to stderr how many records were predicted, where they are, and which files were not read."""
    from data_prep.readers import summarize

    without = f" ({counts.undecided} without a decision)" if counts.undecided else ""
    where = "".join(f"; {printable(str(path))}" for path in written)
    if counts.kept:
        typer.echo(f"{counted(counts.kept, 'record')} predicted before and kept", err=True)
    typer.echo(f"{counted(counts.ok, 'record')} predicted{without}, {counts.failed} failed{where}", err=True)
    for line in summarize(counts.others):
        typer.echo(line, err=True)
