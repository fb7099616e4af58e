"""Tables of predictions in parts, so that an interrupted one keeps its rows. A part is a function of a list of files.

While a table `X` is written, the folder `X.partial` holds a table for each part that is finished, beside it a receipt
that names the part's files, and the settings that all parts have in common. Nothing else is needed to continue, so any
process may write any part. `shares` makes such a folder the result itself.
"""

import json
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from data_prep.files import remove_partials, write_text, writing
from data_prep.lock import locked
from data_prep.parallel import OrderedEngine, in_order
from data_prep.places import File, RemotePath
from data_prep.readers import files_of
from ecgmtl.identity import sha256
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predict import predict_batches
from ecgmtl.inference.predictor import Predictor, PredictorError, digest_of
from ecgmtl.inference.result import Failure, Prediction
from ecgmtl.inference.table import PredictionsFileError, format_of, join, open_predictions, row_of

FILES_A_PART = 256
"""Number of files of a part, or a little less: a whole number of batches. An interruption loses one part per worker."""
SETTINGS = "_settings.json"
Piece = tuple[int, tuple[File, ...]]
"""Number of a part, and its files."""


@dataclass(frozen=True)
class PredictionJob:
    """Table to write, and the model and options that all of its parts have in common."""

    model: str
    digest: str
    """Digest of the model."""
    out: Path
    options: PredictOptions = PredictOptions()  # noqa: RUF009, it is frozen
    n_threads: int = 0
    """Number of threads in which the model computes; 0 is one for each core. It changes no row."""
    keeps_parts: bool = False
    """Whether `out` is a folder of parts in Parquet, which are not joined."""

    @property
    def folder(self) -> Path:
        return self.out if self.keeps_parts else partial_folder(self.out)

    @property
    def files_a_part(self) -> int:
        return max(FILES_A_PART // self.options.batch_size, 1) * self.options.batch_size

    def table(self, number: int) -> Path:
        """Return the path of the table of a part."""
        return self.folder / f"part-{number:06d}{'.parquet' if self.keeps_parts else self.out.suffix}"

    def receipt(self, number: int) -> Path:
        """Return the path of the receipt of a part. Readers of Parquet folders skip names with an underscore."""
        return self.folder / f"_part-{number:06d}.json"

    def settings(self) -> dict[str, Any]:
        """Return the settings that change the rows, by human-readable name."""
        from ecgmtl import __version__

        settings = {"the version of ecgmtl": __version__, "the model": self.digest, **self.options.as_typed()}
        return json.loads(json.dumps(settings))


@dataclass(frozen=True)
class Receipt:
    """Receipt of a finished part, with the numbers of its results."""

    number: int
    files: str
    """Digest of the names, sizes and modification times of its files."""
    n_bytes: int
    """Size of its table."""
    ok: int
    failed: int
    undecided: int
    failures: tuple[tuple[str, str, str], ...] = ()
    """Path, reason and traceback of each failure."""
    kept: bool = False
    """Whether an earlier run finished it."""


def partial_folder(out: Path) -> Path:
    """Return the folder of the parts of a table."""
    return out.with_name(f"{out.name}.partial")


@contextmanager
def partial_table(job: PredictionJob) -> Iterator[tuple[str, ...]]:
    """Hold the folder of a table's parts, and yield the settings in which an earlier run differed.

    If there are any, or the earlier run's are not known, its parts are removed.

    Raises:
        PredictionsFileError: the table or its folder cannot be written.
        FolderInUseError: another process writes this table.
    """
    format_of(job.out)
    if job.out.is_dir():
        raise PredictionsFileError(f"{job.out}: is a folder; name a file, or let it end in / for a folder of parts.")
    with writing(job.out, PredictionsFileError):
        job.folder.mkdir(parents=True, exist_ok=True)
    with locked(job.folder):
        before, now = read_json(job.folder / SETTINGS), job.settings()
        with writing(job.out, PredictionsFileError):
            remove_partials(job.out)
            if before != now:
                for path in job.folder.glob("*part-*"):
                    path.unlink()
                write_text(job.folder / SETTINGS, json.dumps(now))
        yield tuple(name for name in now if isinstance(before, dict) and before.get(name) != now[name])


def pieces_of(job: PredictionJob, files: Iterable[File]) -> Iterator[Piece]:
    """Cut the list of files into the parts' files."""
    remaining = iter(files)
    yield from enumerate(iter(lambda: tuple(islice(remaining, job.files_a_part)), ()))


def predict_in_parts(
    job: PredictionJob, pieces: Iterable[Piece], workers: int = 1, engine: OrderedEngine = in_order
) -> Generator[Receipt, None, None]:
    """Write parts of a table, and yield the receipt of each in order. The caller holds the folder.

    Raises:
        PredictorError: a worker process was killed.
        PlaceError: a remote place cannot be reached.
    """
    begun: dict[int, File] = {}
    try:
        for receipt in engine(predict_part, begin_pieces(job, pieces, begun), workers):
            del begun[receipt.number]
            yield receipt
    except BrokenProcessPool as error:
        first = next(iter(begun.values()), job.out)
        raise PredictorError(
            f"{first}: a worker process was killed, perhaps for lack of memory, at this file or one of the "
            f"{len(begun) * job.files_a_part} after it. What is done is kept: run the same command again to continue, "
            "with fewer --workers if necessary."
        ) from error


def begin_pieces(
    job: PredictionJob, pieces: Iterable[Piece], begun: dict[int, File]
) -> Iterator[tuple[PredictionJob, int, tuple[File, ...]]]:
    """Yield the arguments of `predict_part` for each part, and note its first file in `begun`."""
    for number, files in pieces:
        begun[number] = files[0]
        yield job, number, files


def predict_part(job: PredictionJob, number: int, files: Sequence[File]) -> Receipt:
    """Write the table of a part and its receipt, unless they are there already and no file has changed."""
    digest, table = digest_of_files(files), job.table(number)
    if (finished := read_receipt(job, number)) and finished.files == digest:
        return finished
    predictor = predictor_of(job)
    size = job.options.batch_size
    batches = [files[first : first + size] for first in range(0, len(files), size)]
    results = list(predict_batches(predictor, batches, job.options))
    with open_predictions(table, predictor.metadata.label_names) as write:
        write([row_of(result) for result in results])
    predictions = [result for result in results if isinstance(result, Prediction)]
    failures = [result for result in results if isinstance(result, Failure)]
    receipt = Receipt(
        number,
        digest,
        table.stat().st_size,
        len(predictions),
        len(failures),
        sum(result.undecided is not None for result in predictions),
        tuple((str(failure.path), failure.reason, failure.traceback) for failure in failures),
    )
    write_text(job.receipt(number), json.dumps(asdict(receipt)))
    return receipt


def predictor_of(job: PredictionJob) -> Predictor:
    """Return the predictor of a job, which is loaded once in each process.

    Raises:
        PredictorError: it is not the model that the job began with.
    """
    predictor, digest = load_once(job.model, job.options, job.n_threads)
    if digest != job.digest:
        raise PredictorError(f"{job.model}: was replaced by another model in the meantime; run the command again.")
    return predictor


@lru_cache(maxsize=1)
def load_once(model: str, options: PredictOptions, n_threads: int = 0) -> tuple[Predictor, str]:
    """Return the predictor for these options, and its digest."""
    predictor = options.load(model, n_threads)
    return predictor, digest_of(model, predictor)


def finish(job: PredictionJob, n_parts: int) -> None:
    """Join the parts into the table, and remove their folder."""
    join([job.table(number) for number in range(n_parts)], job.out)
    discard(job)


def discard(job: PredictionJob) -> None:
    """Remove the folder of the parts."""
    shutil.rmtree(job.folder, ignore_errors=True)


def digest_of_files(files: Iterable[File]) -> str:
    """Return a digest of the names, sizes and modification times of all files that records are read from."""
    return sha256(repr([state for file in files for state in states_of(file)]).encode())


def states_of(file: File) -> list[tuple[bytes, object]]:
    """Return the name and the state of each file that a record is read from."""
    if isinstance(file, RemotePath):
        return [(file.url.encode(), file.state)]
    return [(os.fsencode(path), state_of(path)) for path in sorted(files_of(file))]


def state_of(path: Path) -> tuple[int, int] | None:
    """Return the size and the modification time of a file, or None if it cannot be found."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def read_receipt(job: PredictionJob, number: int) -> Receipt | None:
    """Return the receipt of a part whose table is there, or None. A receipt that lacks fields counts as none."""
    fields = read_json(job.receipt(number))
    try:
        receipt = Receipt(**{**fields, "failures": tuple(map(tuple, fields["failures"])), "kept": True})
    except (TypeError, KeyError):  # another or no object
        return None
    state = state_of(job.table(number))
    return receipt if state is not None and state[0] == receipt.n_bytes else None


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, or None if there is none, or only a part of one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
