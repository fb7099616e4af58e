"""Queue of the runs of a comparison, in sequence or in parallel. A failed run does not stop the others."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.sharedctypes import Synchronized
from typing import get_args

import torch

from data_prep.parallel import end_with_parent
from ecgmtl.checkpoint import CheckpointError
from ecgmtl.comparison.results import RunResult
from ecgmtl.comparison.run import ArmRun, train_and_evaluate
from ecgmtl.config.parse import ConfigError
from ecgmtl.training.errors import TrainingError

RunError = TrainingError | CheckpointError | ConfigError
"""Expected error of one run. Any other error is a bug and stops the comparison."""
RUN_ERRORS = get_args(RunError)


def run_all(runs: Sequence[ArmRun], n_parallel: int, say: Callable[[str], None]) -> dict[str, str]:
    """Do the runs that have no result yet, report failures, and return their reasons by the name of the run."""
    todo = [run for run in runs if not run.is_done()]
    if len(todo) < len(runs):
        say(f"{len(runs) - len(todo)} of {len(runs)} runs are already finished")
    failed: dict[str, str] = {}
    started = time.perf_counter()
    for number, (run, outcome) in enumerate(outcomes(todo, n_parallel), 1):
        left = (time.perf_counter() - started) / number * (len(todo) - number) / 60
        head = f"{number}/{len(todo)} {run.name}: "
        if isinstance(outcome, RunResult):
            seconds = outcome.curve[-1].seconds
            say(f"{head}macro AUROC {outcome.macro_auroc:.4f}, {seconds:.0f} s of training; {left:.0f} min left")
        else:
            failed[run.name] = str(outcome)
            say(f"{head}failed: {outcome}")
    return failed


def outcomes(runs: Sequence[ArmRun], n_parallel: int) -> Iterator[tuple[ArmRun, RunResult | RunError]]:
    """Yield each run with its result or its error, in the order in which they finish."""
    if n_parallel == 1:
        for run in runs:
            try:
                yield run, train_and_evaluate(run)
            except RUN_ERRORS as error:
                yield run, error
        return
    # spawn new processes, because torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_parallel, context, start_worker, (context.Value("i"),))
    try:
        running: dict[Future[RunResult], ArmRun] = {pool.submit(train_and_evaluate, run): run for run in runs}
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except RUN_ERRORS as error:
                yield running[future], error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # otherwise the pool waits for the run, which can resume from its last epoch
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker(n_started: "Synchronized[int]") -> None:
    """Prepare this process for its runs: it ends with its parent, and each worker in turn uses the next GPU.

    Otherwise a process that outlives its parent would train the same run as the next call.
    """
    end_with_parent()
    with n_started.get_lock():
        number, n_started.value = n_started.value, n_started.value + 1
    if n_gpus := torch.cuda.device_count():
        torch.cuda.set_device(number % n_gpus)
