"""Output of `ecgmtl train` while it runs: a bar with the time left, and a line per stage and epoch."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ecgmtl.cli.remaining_time import RemainingTime, spell_time
from ecgmtl.cli.terminal import Bar, open_bar
from ecgmtl.config.stage import Stage
from ecgmtl.tracking import names
from ecgmtl.training.epoch_report import EpochReport
from ecgmtl.training.record import RunCallbacks


@contextmanager
def stage_progress() -> Iterator[RunCallbacks]:
    """Show a bar for each stage on a terminal, and print a line for each stage and epoch in any case."""
    with open_bar() as bar:
        run = RunProgress(bar)
        yield RunCallbacks(run.begin, run.advance, lambda report: bar.say(epoch_line(report)), bar.say, run.work)


class RunProgress:
    """Progress of a whole run on a bar: the number of the stage, and the time left for all stages."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.time = bar, RemainingTime()
        self.label, self.n_epochs, self.n_steps, self.done = "", 0, 0, 0

    def begin(self, stages: tuple[Stage, ...], index: int, n_steps: int, done: int) -> None:
        stage = stages[index]
        self.label, self.n_epochs = f"{stage.name}, stage {index + 1} of {len(stages)}", stage.epochs
        self.n_steps, self.done = n_steps, done
        self.time.begin([one.epochs for one in stages], index, self.epochs_done)
        left = self.time.seconds()
        remaining = "" if math.isnan(left) else f"; time left for the run: {spell_time(left)}"
        self.bar.say(f"stage {index + 1} of {len(stages)}: {stage.name}: {stage.summary}{remaining}")
        self.bar.begin(self.label, done, n_steps)

    @property
    def epochs_done(self) -> float:
        return self.n_epochs * self.done / self.n_steps

    def advance(self) -> None:
        self.done += 1
        self.time.advance(self.epochs_done)
        self.bar.update(self.done, self.n_steps, f"{self.label}; run: {spell_time(self.time.seconds())} left")

    def work(self, label: str, done: int, total: int) -> None:
        """Show a bar for work beside the stages."""
        if label != self.label:
            self.label = label
            self.bar.begin(label)
        self.bar.update(done, total)


def epoch_line(report: EpochReport) -> str:
    """Return stage and epoch, the median of each loss over the steps, and validation figures.

    The median is used, because a few batches with a huge loss make the mean look like divergence.
    """
    losses = [
        f"{names.task_of(name)} {np.nanmedian(values):.3f}"
        for name, values in report.steps.items()
        if name.startswith(names.LOSS) and not np.isnan(values).all()  # a task may be left out of some steps, or of all
    ]
    shown = {names.MACRO_AUROC: "AUROC {:.4f}", names.RMSE: "RMSE {:.4f} mV", names.SPEED: "{:.0f} records/s"}
    figures = [text.format(report.figures[name]) for name, text in shown.items() if name in report.figures]
    head = f"{report.stage:>10} {report.epoch + 1:3d}"
    return f"{head}   train (median): {', '.join(losses)}   validation: {', '.join(figures)}"
