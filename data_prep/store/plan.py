"""Plan of a preparation: its records with what is noted about them, its settings, and how it is carried out."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.parallel import Engine
from data_prep.preprocess import Preprocess
from data_prep.progress import ProgressCallback
from data_prep.readers import OtherFile, ReadOptions, find_files, summarize
from data_prep.sources.tables import Source, class_remarks, listed
from data_prep.store.chunks import RECORDS_A_CHUNK


@dataclass(frozen=True)
class PreparationPlan:
    """Plan of a preparation: its records, its folder and its settings."""

    source: Source
    out: Path
    preprocess: Preprocess
    options: ReadOptions
    labels: str
    workers: int
    progress: ProgressCallback | None
    engine: Engine

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """Settings that change the prepared folder, except its default label set."""
        return {"preprocess": plain(self.preprocess), "read": stated(self.options), "source": identity(self.source)}

    @property
    def firsts(self) -> range:
        """Number of the first record of each chunk."""
        return range(0, len(self.source.files), RECORDS_A_CHUNK)

    def records_of(self, first: int) -> tuple[str, ...]:
        """Return the files of a chunk."""
        return self.source.files[first : first + RECORDS_A_CHUNK]


def not_read(source: Source, out: Path, options: ReadOptions) -> list[str]:
    """Return a line for each kind of file in the source folder that is not read, except tables in use.

    A remote folder is not searched, since all files would be asked for.
    """
    if not isinstance(source.folder, Path):
        return []
    others = [file for file in find_files([source.folder], options) if isinstance(file, OtherFile)]
    paths = {other: Path(str(other.path)) for other in others}
    return summarize([other for other, path in paths.items() if path not in source.tables and out not in path.parents])


def remarked(source: Source, labels: str, more: Sequence[str]) -> Source:
    """Return the source with its remarks, those on the default labels, and `more` added to its notes."""
    findings, notes = class_remarks(source, labels)
    remarks = listed([*source.remarks, *findings])
    return dataclasses.replace(source, notes=(*source.notes, *notes, *remarks, *more))


def identity(source: Source) -> dict[str, str]:
    folder = source.folder.resolve() if isinstance(source.folder, Path) else source.folder
    return {"kind": source.kind, "name": folder.name, "sha256": source.sha256()}


def plain(settings: Preprocess | ReadOptions) -> dict[str, Any]:
    """Return the settings as JSON restores them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def stated(options: ReadOptions) -> dict[str, Any]:
    """Return the options that describe the files. How much of a file is read follows from the preprocessing."""
    return {name: value for name, value in plain(options).items() if name != "seconds"}
