"""Folders of predictions that several jobs write, each its share of the parts.

The files are listed and cut into parts in the same way by every job, whatever its share is. The first one writes down
the settings and a digest of the list. A job with others is refused, so that the folder holds the rows of one whole run.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.files import is_partial, remove_abandoned, write_first, writing
from data_prep.lock import locked
from data_prep.places import File
from data_prep.share import Share
from ecgmtl.inference.parts import SETTINGS, Piece, PredictionJob, pieces_of, read_json, read_receipt
from ecgmtl.inference.table import PredictionsFileError

LISTING = "the list of files"


@dataclass(frozen=True)
class FileList:
    """The list of files, of which only one share's are kept."""

    n_files: int
    n_parts: int
    digest: str
    """SHA-256 of the names of all files."""
    pieces: tuple[Piece, ...]
    """Parts of the share."""

    @property
    def n_files_of_share(self) -> int:
        return sum(len(files) for _, files in self.pieces)

    @classmethod
    def of(cls, job: PredictionJob, files: Iterable[File], share: Share) -> "FileList":
        """List files and cut them into parts."""
        names, pieces, n_files, n_parts = hashlib.sha256(), [], 0, 0
        for number, piece in pieces_of(job, files):
            for file in piece:
                names.update(os.fsencode(str(file)) + b"\0")
            n_files, n_parts = n_files + len(piece), number + 1
            if number in share:
                pieces.append((number, piece))
        return cls(n_files, n_parts, names.hexdigest(), tuple(pieces))


@contextmanager
def shared_folder(job: PredictionJob, file_list: FileList, share: Share) -> Iterator[None]:
    """Hold one share of a folder of predictions, which is made by the first job.

    Raises:
        PredictionsFileError: the folder is of other predictions or holds something else, or it cannot be written.
        FolderInUseError: another process writes this share.
    """
    with writing(job.folder, PredictionsFileError):
        job.folder.mkdir(parents=True, exist_ok=True)
        require_same(job.folder, {**job.settings(), LISTING: [file_list.n_files, file_list.digest]})
        remove_abandoned(job.folder)
    with locked(job.folder, None, share.lock):
        yield


def require_same(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings into an empty folder, or compare them with those that its first job wrote.

    Raises:
        PredictionsFileError: they differ, or the folder holds something else.
    """
    path = folder / SETTINGS
    if not path.exists():
        refuse_other_files(folder)
        if write_first(path, json.dumps(settings)):
            return
    first = read_json(path)
    if first == settings:
        return
    known = first if isinstance(first, dict) else {}
    differences = ", ".join(name for name in settings if known.get(name) != settings[name])
    raise PredictionsFileError(
        f"{folder}: its parts were begun with a different value of {differences}; choose a new folder, or "
        "remove this one."
    )


def refuse_other_files(folder: Path) -> None:
    """Raise PredictionsFileError if a folder holds files, but no predictions that were begun."""
    if not folder.is_dir():
        return
    holds_others = any(not is_partial(child) for child in folder.iterdir())
    if holds_others and not (folder / SETTINGS).exists():  # another job may have begun
        raise PredictionsFileError(f"{folder}: holds files other than predictions; choose a new folder.")


def require_kept(job: PredictionJob, file_list: FileList) -> None:
    """Raise PredictionsFileError if the folder has lost its settings or a part that this job has written."""
    lost = [number for number, _ in file_list.pieces if read_receipt(job, number) is None]
    has_begun = (job.folder / SETTINGS).exists()
    if lost or (file_list.pieces and not has_begun):
        what = f"{len(lost)} of the {len(file_list.pieces)} parts that this command wrote" if lost else SETTINGS
        remedy = "Run" if has_begun else "Remove what is left of it, and run"
        raise PredictionsFileError(
            f"{job.folder}: {what} can no longer be found. Was the folder removed or moved while this command ran? "
            f"{remedy} the same command again."
        )


def count_finished(job: PredictionJob) -> int:
    """Return the number of finished parts of a folder, whichever job wrote them."""
    return sum(1 for _ in job.folder.glob("part-*.parquet"))
