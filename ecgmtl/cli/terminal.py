"""Terminal behavior of every command: progress bars, errors without tracebacks, and signals."""

import errno
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from data_prep.errors import UserError
from data_prep.files import FULL
from data_prep.progress import ProgressCallback
from data_prep.safe_text import printable_lines

NO_RIGHT = "Allow it, or name another place"
CHECK_PLACE = "Check this disk or network drive"
REFUSED = {
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
    errno.EROFS: "Name a place that can be written",
    errno.ENOTDIR: "A part of this path is a file; name another place",
    errno.EISDIR: "Name a file",
    errno.ELOOP: "Its links lead back to themselves; name another place",
    errno.ENAMETOOLONG: "Name a shorter path",
    errno.EMFILE: "Raise `ulimit -n`",
    errno.EIO: CHECK_PLACE,
    getattr(errno, "ESTALE", errno.EIO): CHECK_PLACE,
    errno.ETIMEDOUT: CHECK_PLACE,
}
"""Remedy by error number where the system refuses to read or write a file."""


@contextmanager
def spoken_errors(on_interrupt: Callable[[], str] = lambda: "stopped.") -> Iterator[None]:
    """Show errors that the user can correct as sentences, with exit code 1.

    After Ctrl-C, TERM or HUP, print how to continue and exit with 130 or 143. Any other error keeps its traceback.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, raise_terminated)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(hangup, raise_terminated)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{on_interrupt()}", err=True)
        raise typer.Exit(130) from None
    except SystemExit:
        typer.echo(on_interrupt(), err=True)
        raise typer.Exit(143) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "ecgmtl", "data_prep"):
            raise
        typer.echo(
            f"this needs the package {package}, which is not installed; `pip install ecgmtl` installs all packages.",
            err=True,
        )
        raise typer.Exit(1) from None
    except (UserError, OSError) as error:
        message = sentence_of(error, on_interrupt)
        if message is None:
            raise
        typer.echo(printable_lines(message), err=True)
        raise typer.Exit(1) from None


def sentence_of(error: UserError | OSError, on_interrupt: Callable[[], str]) -> str | None:
    """Return the message of an error, or None if nothing tells the user what to do."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in FULL and (cause.filename or cause is error):
        return full_disk(cause, on_interrupt())
    if isinstance(error, UserError):
        return str(error)
    file = error.filename2 or error.filename  # the first one is a partial file that was to become the second
    if not file:
        return None
    if isinstance(error, FileNotFoundError):
        return f"{file}: is not there. Was its folder removed or moved while this command ran?"
    remedy = REFUSED.get(error.errno or 0)
    return remedy and f"{file}: {error.strerror}. {remedy}, and run the same command again."


def full_disk(error: OSError, on_interrupt: str) -> str:
    """Return a message that names the file, what is kept, and the command to continue with."""
    file = f"{error.filename}: " if error.filename else ""
    what, room = FULL[error.errno or errno.ENOSPC]
    remedy = on_interrupt.removeprefix("stopped").strip("; ").rstrip(".") or "then run the same command again"
    return f"{file}{what}. Files that were whole are kept. {room}; {remedy}"


def raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


class Bar:
    """Progress bar with an estimate of the time left. It is shown only on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        self.bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    def begin(self, label: str, done: int = 0, total: int | None = None) -> None:
        """Replace the current bar by a new one."""
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        self.bars.add_task(label, completed=done, total=total)

    def update(self, done: int, total: int, label: str | None = None) -> None:
        self.bars.update(self.bars.task_ids[0], completed=done, total=total, description=label)

    def say(self, text: str) -> None:
        """Print a line above the bar, on a terminal or not."""
        self.bars.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def open_bar() -> Iterator[Bar]:
    bar = Bar()
    with bar.bars:
        yield bar


@contextmanager
def progress_bar(label: str) -> Iterator[ProgressCallback]:
    """Show a bar for one piece of work, and yield a function to call with done and total."""
    with open_bar() as bar:
        bar.begin(label)
        yield bar.update
