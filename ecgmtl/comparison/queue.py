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
from ecgmtl.comparison.run import Job, run_job
from ecgmtl.config.parse import ConfigError
from ecgmtl.training.stage import TrainingError

Failure = TrainingError | CheckpointError | ConfigError
"""Expected error of one run. Any other error is a bug and stops the comparison."""
FAILURES = get_args(Failure)


def run_all(jobs: Sequence[Job], n_parallel: int, say: Callable[[str], None]) -> dict[str, str]:
    """Run the jobs that have no result yet, report failures, and return their reasons by job name."""
    todo = [job for job in jobs if not job.is_done()]
    if len(todo) < len(jobs):
        say(f"{len(jobs) - len(todo)} of {len(jobs)} runs are already finished")
    failed: dict[str, str] = {}
    started = time.perf_counter()
    for number, (job, outcome) in enumerate(outcomes(todo, n_parallel), 1):
        left = (time.perf_counter() - started) / number * (len(todo) - number) / 60
        head = f"{number}/{len(todo)} {job.name}: "
        if isinstance(outcome, RunResult):
            seconds = outcome.curve[-1].seconds
            say(f"{head}macro AUROC {outcome.macro_auroc:.4f}, {seconds:.0f} s of training; {left:.0f} min left")
        else:
            failed[job.name] = str(outcome)
            say(f"{head}failed: {outcome}")
    return failed


def outcomes(jobs: Sequence[Job], n_parallel: int) -> Iterator[tuple[Job, RunResult | Failure]]:
    """Yield each job with its result or its error, in the order in which they finish."""
    if n_parallel == 1:
        for job in jobs:
            try:
                yield job, run_job(job)
            except FAILURES as error:
                yield job, error
        return
    # spawn new processes, because torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_parallel, context, start_worker, (context.Value("i"),))
    try:
        running: dict[Future[RunResult], Job] = {pool.submit(run_job, job): job for job in jobs}
        for future in as_completed(running):
            try:
                yield running[future], future.result()
            except FAILURES as error:
                yield running[future], error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # otherwise the pool waits for the run, which can resume from its last epoch
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker(n_started: "Synchronized[int]") -> None:
    """Prepare this process for its runs: it ends with its parent, and each worker in turn uses the next GPU.

    If it outlived its parent, the next call would start the same run beside it.
    """
    end_with_parent()
    with n_started.get_lock():
        number, n_started.value = n_started.value, n_started.value + 1
    if n_gpus := torch.cuda.device_count():
        torch.cuda.set_device(number % n_gpus)
