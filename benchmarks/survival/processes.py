"""Processes that faults run in. They are forked after all imports, so that they start at once."""

import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
"""Folder of the repository."""
POLL = 0.002
"""Seconds between two checks of a process."""


def forked(run: Callable[[], object], folder: Path, log: Path) -> int:
    """Start `run` in a copy of this process that works in `folder` and writes to `log`. Return the process's id.

    No thread may run in this process, because a copy has only one.
    """
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.chdir(folder)
        with log.open("ab", 0) as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:  # noqa: BLE001, a copy must not go on with what its original does
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def command(*arguments: object) -> Callable[[], None]:
    """Return a function that runs `ecgmtl` with these arguments, and ends by SystemExit."""

    def run() -> None:
        from ecgmtl.cli import app

        app([str(argument) for argument in arguments])

    return run


class Ended(NamedTuple):
    """End of a process."""

    code: int
    """Exit code, or the negative number of a signal."""
    seconds: float
    """Seconds since the wait for it began."""


def wait(process: int, seconds: float) -> Ended | None:
    """Wait until a process has ended. Return None if it runs for longer."""
    start = time.monotonic()
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        spent = time.monotonic() - start
        if done:
            return Ended(os.waitstatus_to_exitcode(status), spent)
        if spent >= seconds:
            return None
        time.sleep(POLL)


def finish(process: int, seconds: float = 600.0) -> Ended:
    """Wait for the end of a process.

    Raises:
        TimeoutError: it runs for longer. It is killed.
    """
    ended = wait(process, seconds)
    if ended is None:
        end(process, signal.SIGKILL)
        raise TimeoutError(f"process {process} runs for more than {seconds:g} s")
    return ended


def end(process: int, how: signal.Signals, seconds: float = 60.0) -> Ended:
    """Send a signal to a process and wait for its end."""
    os.kill(process, how)
    return finish(process, seconds)


def killed_within(process: int, seconds: float) -> bool:
    """Kill a process after some seconds. Return whether it was killed, by this call or by itself, before it ended."""
    ended = wait(process, seconds)
    if ended is None:
        end(process, signal.SIGKILL)
        return True
    return ended.code == -signal.SIGKILL


@contextmanager
def killed_in(
    owner: Any, name: str, marker: Path, chance: random.Random, latest: int, *, after: bool = False
) -> Iterator[None]:
    """Kill this process in one of the first `latest` calls of a function, or right after it, at a random moment.

    The file `marker` exists during the call, or the time after it, so that a marker left behind shows that the process
    was killed in this moment.
    """
    original = getattr(owner, name)
    chosen, share, state = chance.randrange(latest), 0.8 * chance.random(), {"calls": 0, "seconds": 0.01}

    def strike() -> None:
        marker.touch()
        if state["calls"] == chosen:
            timer = threading.Timer(share * state["seconds"], os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        state["calls"] += 1

    def call(*arguments: Any, **named: Any) -> Any:
        if after:
            marker.unlink(missing_ok=True)
            result = original(*arguments, **named)
            strike()
            return result
        strike()
        start = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            state["seconds"] = time.perf_counter() - start
            marker.unlink(missing_ok=True)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, original)


class Confined(NamedTuple):
    """Result of a function in a process of its own."""

    value: Any
    seconds: float
    megabytes: float
    """Largest growth of the process's memory."""


def confined(run: Callable[[], Any], megabytes: float | None = None) -> Confined:
    """Run a function in a forked process, whose address space may grow by `megabytes`.

    Raises:
        RuntimeError: the process ended without a result.
    """
    import pickle

    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            if megabytes is not None:
                limit = int(address_space() + 1e6 * megabytes)
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
            before, start = peak(), time.perf_counter()
            value = run()
            result = Confined(value, time.perf_counter() - start, max(0.0, peak() - before))
            os.write(writer, pickle.dumps(result))
            os._exit(0)
        except BaseException:  # noqa: BLE001, a copy must not go on with what its original does
            traceback.print_exc()
            os._exit(70)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        content = pipe.read()
    finish(process)
    if not content:
        raise RuntimeError("the confined process ended without a result; its error is printed above")
    result: Confined = pickle.loads(content)
    return result


def peak() -> float:
    """Return the largest memory that this process has taken, in MB."""
    return status("VmHWM")


def address_space() -> float:
    """Return the bytes of this process's address space."""
    return 1e6 * status("VmSize")


def status(field: str) -> float:
    """Return a field of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / 1e6
