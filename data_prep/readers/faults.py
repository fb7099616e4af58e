"""Errors of readers and libraries, made into sentences that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager

from data_prep.extras import MissingExtraError
from data_prep.record import RecordError


def unsupported(problem: str) -> RecordError:
    """Return the error about a file that stores an ECG in an unsupported way. `problem` names the file and the way."""
    return RecordError(f"{problem}, which is not supported; export the ECG in another format (docs/own-data.md).")


@contextmanager
def naming_faults(name: str, kind: str) -> Iterator[None]:
    """Turn whatever is raised within into a RecordError about the file `name`, which should be a `kind`.

    Raises:
        RecordError: something was raised.
    """
    try:
        yield
    except RecordError:
        raise
    except MissingExtraError as error:
        raise RecordError(str(error)) from error
    except ModuleNotFoundError as error:
        raise RecordError(
            f"{name} cannot be read: the package {error.name} is not installed; pip install {error.name}."
        ) from error
    except MemoryError as error:
        raise RecordError(f"{name} cannot be read: it needs more memory than there is; cut it first.") from error
    except Exception as error:  # whatever a damaged file makes a library raise
        if isinstance(error, OSError) and error.errno is not None and error.strerror:  # the system's own sentence
            raise RecordError(f"{name} cannot be read: {error.strerror}.") from error
        raise RecordError(f"{name} cannot be read: it is damaged, or not a {kind} ({type(error).__name__}).") from error
