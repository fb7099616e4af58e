"""A training session: join processes, lock the run's folder, train, and halve batches that are too large."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import torch

from data_prep.files import PARTIALS_BELOW
from data_prep.lock import locked
from data_prep.store.open import Store
from ecgmtl.config.run import Config
from ecgmtl.data.split import open_for
from ecgmtl.device import free_memory, spare_address_space
from ecgmtl.ranks import from_first, is_first, is_parallel, process_group, was_restarted
from ecgmtl.run_files import CONFIG, is_run
from ecgmtl.tracking.tracker import EXPERIMENT, open_tracker
from ecgmtl.training.errors import BatchTooLargeError
from ecgmtl.training.folder import RunFolder, SharedFolder
from ecgmtl.training.record import SILENT, RunCallbacks
from ecgmtl.training.schedule import Schedule, stages_until

FindData = Callable[[Config], Path]
"""Function that returns the prepared folder for a config. Only the first process of a parallel training calls it."""


class Session(NamedTuple):
    """Options of a training session that do not change the config."""

    last: str | None
    """Name of the stage to stop after. None for all stages."""
    threads: int
    """Processor threads; 0 uses all."""
    track: bool
    """Whether the run is logged to MLflow."""
    register: str | None
    """Name under which MLflow registers the classifier."""


class Display(NamedTuple):
    """Callbacks by which a session reports what it does. The command line displays it."""

    opened: Callable[[Path], None]
    """Called in every process with the folder of the run as soon as it is known."""
    progress: Callable[[], AbstractContextManager[RunCallbacks]]
    warn: Callable[[str], None]


def start_training(
    source: Config | RunFolder, data: Path | FindData, out: Path | None, session: Session, display: Display
) -> Path:
    """Train a new run of a config, or continue the run of a folder, and return the path of the model.

    A new run gets the folder `out`, by default one below `runs`.

    Raises:
        ConfigError, StoreError, TrainingError, CheckpointError: the run cannot begin or continue.
        FolderInUseError: another process trains in the folder.
    """
    if session.threads:
        torch.set_num_threads(session.threads)
    spare_address_space()
    with process_group(), ExitStack() as held:
        folder = from_first(lambda: open_run(source, data, out, session.last, held))
        folder = folder if is_first() else SharedFolder(folder.path)
        try:
            config = folder.config
            store = open_for(folder.data, config.preprocess, config.validation_fold)
            return train_in(folder, store, session, display)
        except Exception:
            if not isinstance(source, RunFolder):
                folder.remove_unless_begun()
            raise


def open_run(
    source: Config | RunFolder, data: Path | FindData, out: Path | None, last: str | None, held: ExitStack
) -> RunFolder:
    """Lock the folder of a run until `held` exits, and create the folder of a new run.

    Processes that were restarted after a failure resume the run that they had begun.
    """
    if isinstance(source, RunFolder):
        held.enter_context(locked(source.path, PARTIALS_BELOW))
        return source
    stages_until(source, last, data if isinstance(data, Path) else None)
    records = data if isinstance(data, Path) else data(source)
    path = out or RunFolder.default_path(source)
    held.enter_context(locked(path, PARTIALS_BELOW))
    if was_restarted() and is_run(path):
        return RunFolder.reopen(path)
    return RunFolder.create(path, source, records)


def train_in(folder: RunFolder, store: Store, session: Session, display: Display) -> Path:
    """Train in the locked folder of a run. In a parallel training only the first process logs and shows progress."""
    display.opened(folder.path)
    if not is_first():
        tracker = open_tracker(EXPERIMENT, enabled=False)
        return Schedule.prepare(store, folder, tracker, SILENT).run(session.last)
    while True:
        tracker = open_tracker(EXPERIMENT, enabled=session.track)
        try:
            with display.progress() as progress:
                return Schedule.prepare(store, folder, tracker, progress).run(session.last, session.register)
        except BatchTooLargeError as error:
            if is_parallel() or error.batch_size == 1:
                raise
            display.warn(halve_batch(folder, error))
        free_memory()


def halve_batch(folder: RunFolder, error: BatchTooLargeError) -> str:
    """Halve the batches of a stage for which memory was too small, and return a sentence that says so."""
    n_records = folder.halve_batch(error.stage)
    return (
        f"stage {error.stage}: a batch of {error.batch_size} records needs more memory than there is; the stage starts "
        f"again with batches of {n_records}, as {folder.path / CONFIG} says now. Its results will differ."
    )
