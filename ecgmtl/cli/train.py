"""`ecgmtl train`: a new run or an interrupted one, on a given store or on synthetic ECGs, told at the terminal."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import typer

from data_prep.lock import locked
from data_prep.store.open import Store, open_store
from data_prep.store.prepare import prepare
from data_prep.synthetic.folder import write_ptbxl
from ecgmtl.cli.remaining_time import RemainingTime, spell_time
from ecgmtl.cli.terminal import Bar, open_bar, progress_bar
from ecgmtl.config.run import Config, load_config
from ecgmtl.config.shipped import RECIPE, find_config
from ecgmtl.config.stage import Stage
from ecgmtl.data.split import open_for
from ecgmtl.tasks import PREFIX
from ecgmtl.tracking import names
from ecgmtl.tracking.tracker import EXPERIMENT, open_tracker
from ecgmtl.training.folder import PARTIALS, RunFolder
from ecgmtl.training.record import Progress
from ecgmtl.training.schedule import Schedule, stages_until
from ecgmtl.training.stage import EpochReport

SYNTHETIC = Path("data/synthetic")
N_SYNTHETIC = 1500


class Session(NamedTuple):
    """How to run, apart from what to run."""

    threads: int
    """Of the processor; 0 for all."""
    track: bool
    """Whether MLflow hears of it."""
    opened: Callable[[Path], None]
    """Told the run's folder as soon as it is known."""


def start_training(
    source: Config | RunFolder, data: Path | None, out: Path | None, last: str | None, how: Session
) -> Path:
    """Train up to the stage named `last` and give the file of the model."""
    if how.threads:
        torch.set_num_threads(how.threads)
    if isinstance(source, RunFolder):
        with locked(source.path, PARTIALS):
            store = open_for(source.data, source.config.preprocess, source.config.validation_fold)
            return train_in(source, store, last, how)
    stages_until(source, last, data)
    where = data or synthetic_store(source)
    store = open_for(where, source.preprocess, source.validation_fold)
    path = out or RunFolder.default_path(source)
    with locked(path, PARTIALS):
        folder = RunFolder.create(path, source, where)
        try:
            return train_in(folder, store, last, how)
        except Exception:
            folder.remove_unless_begun()
            raise


def train_in(folder: RunFolder, store: Store, last: str | None, how: Session) -> Path:
    """Train in a run's folder that is locked."""
    how.opened(folder.path)
    typer.echo(f"run: {folder.path}")
    tracker = open_tracker(EXPERIMENT, enabled=how.track)
    with stage_progress() as progress:
        return Schedule.prepare(store, folder, tracker, progress).run(last)


def synthetic_store(config: Config) -> Path:
    """Built-in artificial ECGs, prepared as the config asks; made at the first call."""
    typer.echo(
        "No --data: training on built-in synthetic ECGs, which show that all works and nothing about patients. "
        "For PTB-XL: ecgmtl data prepare PTBXL_FOLDER data/ptbxl && ecgmtl train --config ptbxl --data data/ptbxl"
    )
    source = SYNTHETIC / "records"
    if not (source / "ptbxl_database.csv").is_file():
        with progress_bar("synthesizing") as bar:
            write_ptbxl(source, N_SYNTHETIC, seed=0, progress=bar)
    store = SYNTHETIC / "prepared"
    with progress_bar("preparing") as bar:
        prepare(source, store, config.preprocess, "superdiagnostic", workers=1, progress=bar)
    return store


@contextmanager
def stage_progress() -> Iterator[Progress]:
    """Draw a bar for each stage on a terminal, and print a line for each stage and each epoch in any case."""
    with open_bar() as bar:
        run = RunProgress(bar)
        yield Progress(run.begin, run.advance, lambda found: bar.say(epoch_line(found)), bar.say, run.work)


class RunProgress:
    """What a bar says of a whole run: which stage of how many, and the time that is left for all of them."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.time = bar, RemainingTime()
        self.label, self.n_epochs, self.n_steps, self.done = "", 0, 0, 0

    def begin(self, stages: tuple[Stage, ...], index: int, n_steps: int, done: int) -> None:
        stage = stages[index]
        self.label, self.n_epochs = f"{stage.name}, stage {index + 1} of {len(stages)}", stage.epochs
        self.n_steps, self.done = n_steps, done
        self.time.begin([one.epochs for one in stages], index, self.epochs_done)
        left = self.time.seconds()
        said = "" if math.isnan(left) else f"; time left for the run: {spell_time(left)}"
        self.bar.say(f"stage {index + 1} of {len(stages)}: {stage.name}: {stage.summary}{said}")
        self.bar.begin(self.label, done, n_steps)

    @property
    def epochs_done(self) -> float:
        return self.n_epochs * self.done / self.n_steps

    def advance(self) -> None:
        self.done += 1
        self.time.advance(self.epochs_done)
        self.bar.update(self.done, self.n_steps, f"{self.label}; run: {spell_time(self.time.seconds())} left")

    def work(self, label: str, done: int, total: int) -> None:
        """Draw a bar for what is done beside the stages."""
        if label != self.label:
            self.label = label
            self.bar.begin(label)
        self.bar.update(done, total)


def epoch_line(found: EpochReport) -> str:
    """Return stage and epoch, the median of each loss over the steps, and validation figures.

    A few batches with a huge loss would move the mean, which then looks like divergence.
    """
    losses = [
        f"{names.task_of(name)} {np.nanmedian(values):.3f}"
        for name, values in found.steps.items()
        if name.startswith(names.LOSS) and not np.isnan(values).all()  # a task may be left out of some steps, or of all
    ]
    shown = {names.MACRO_AUROC: "AUROC {:.4f}", names.RMSE: "RMSE {:.4f} mV", names.SPEED: "{:.0f} records/s"}
    figures = [text.format(found.figures[name]) for name, text in shown.items() if name in found.figures]
    head = f"{found.stage:>10} {found.epoch + 1:3d}"
    return f"{head}   train (median): {', '.join(losses)}   validation: {', '.join(figures)}"


def settings_of(path: Path | None, overrides: tuple[str, ...], data: Path | None) -> Config:
    """Return the config to run: the one that is named, or for real records the recipe, or else the demonstration."""
    if path is not None:
        file = find_config(path)
        if file != path:
            typer.echo(f"config: {file}")
        return load_config(file, overrides)
    return load_config(None, overrides) if data is None else recipe_for(data, overrides)


def recipe_for(data: Path, overrides: tuple[str, ...]) -> Config:
    """Return the shipped recipe, without the further label sets that this store does not have."""
    label_sets = set(open_store(data).label_sets)
    recipe = load_config(find_config(Path(RECIPE)))
    dropped = [name for name in recipe.auxiliary_labels if name not in label_sets]
    without = f", without the label set {' and '.join(dropped)}, which {data} does not have" if dropped else ""
    typer.echo(
        f"No --config: training the shipped recipe '{RECIPE}'{without}. --config NAME chooses another; "
        f"'ecgmtl show configs' lists them."
    )
    return load_config(find_config(Path(RECIPE)), (*without_label_sets(recipe, dropped), *overrides))


def without_label_sets(config: Config, names: list[str]) -> list[str]:
    """Return the overrides that take these further label sets out of a config."""
    kept = [name for name in config.auxiliary_labels if name not in names]
    overrides = [f"auxiliary_labels={json.dumps(kept)}"] if names else []
    for index, stage in enumerate(config.stages):
        losses = [task for task in stage.losses if task.removeprefix(PREFIX) not in names]
        if len(losses) < len(stage.losses):
            learns_others = any(task.startswith(PREFIX) for task in losses)
            trains = [part for part in stage.trains if part != "auxiliary_classifiers" or learns_others]
            overrides += [f"stages.{index}.losses={json.dumps(losses)}", f"stages.{index}.trains={json.dumps(trains)}"]
    return overrides
