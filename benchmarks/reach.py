"""Measure how long ecgmtl and the peer train until they reach a target score on the validation split."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from machine import clock_of
from peer import EPOCHS, Peer

from ecgmtl.config.run import Config, load_config
from ecgmtl.data.split import Split, load_split, open_for
from ecgmtl.device import pick_device
from ecgmtl.metrics.ranking import mean_defined
from ecgmtl.tracking.tracker import NoTracker
from ecgmtl.training.epoch_report import EpochReport
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.record import RunCallbacks
from ecgmtl.training.schedule import Schedule

Say = Callable[[str], None]


class Course(NamedTuple):
    """Training run, up to the epoch that reached the target, or to its end."""

    name: str
    best: float
    reached: bool
    epochs: int
    training: float
    """Seconds of the training steps, including startup."""
    whole: float
    """Seconds in total: reading the data, startup, training and validation."""


class ReachedError(Exception):
    """Signal that ends a run when it has reached the target."""


def ours(config_path: Path, overrides: tuple[str, ...], data: Path, target: float, say: Say) -> Course:
    """Train as `ecgmtl train` does, without MLflow, and stop after the first epoch that reaches the target."""
    begun = perf_counter()
    config = load_config(config_path, overrides)
    scores: list[float] = []
    spent: list[float] = []

    def epoch(report: EpochReport) -> None:
        spent.append(report.seconds)
        scores.append(report.figures.get("macro_auroc", 0.0))
        say(f"{config_path.stem}, {report.stage} {report.epoch + 1}: {scores[-1]:.4f} after {sum(spent):.1f} s")
        if scores[-1] >= target:
            raise ReachedError

    with TemporaryDirectory() as temporary:
        store = open_for(data, config.preprocess, config.validation_fold)
        folder = RunFolder.create(Path(temporary) / "run", config, data)
        progress = RunCallbacks(lambda *_: None, lambda: None, epoch, lambda _: None, lambda *_: None)
        with suppress(ReachedError):
            Schedule.prepare(store, folder, NoTracker(), progress).train_stages(config.stages)
    best = max(scores, default=0.0)
    return Course(config_path.stem, best, best >= target, len(spent), sum(spent), perf_counter() - begun)


def splits(config: Config, data: Path) -> tuple[Split, Split]:
    """Return the training and the validation split, with the labels of the config."""
    store, device = open_for(data, config.preprocess, config.validation_fold), pick_device()
    labels = config.labels or store.default_labels
    return load_split(store, "train", labels, device=device), load_split(store, "validation", labels, device=device)


def peers(config_path: Path, data: Path, target: float, say: Say, epochs: int = EPOCHS) -> Course:
    """Train the peer on the same records with its own recipe, until it reaches the target."""
    begun = perf_counter()
    train, validation = splits(load_config(config_path), data)
    peer, clock = Peer(train, epochs=epochs), clock_of(train.device)
    best = spent = 0.0
    for number in range(1, epochs + 1):
        started = clock()
        for signals, truth in peer.epoch():
            peer.step(signals, truth)
        spent += clock() - started
        best = max(best, float(mean_defined(peer.aurocs(validation))))
        say(f"peer, {number}: best {best:.4f} after {spent:.1f} s")
        if best >= target:
            break
    return Course("xresnet1d101", best, best >= target, number, spent, perf_counter() - begun)
