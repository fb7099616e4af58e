"""Folder of a source, on this machine or at a remote place: which of the files that tables name are there."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

from data_prep import remote
from data_prep.places import File, RemotePath
from data_prep.readers import is_ecg
from data_prep.readers.files import HEAD
from data_prep.record import RecordError
from data_prep.sources.tables import SourceError, lies_inside


class Names(NamedTuple):
    """Names in a remote folder."""

    files: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Folder:
    """A folder in which records are looked for. Remote folders are listed once each."""

    place: File
    listed: dict[str, Names] = field(default_factory=dict, repr=False, compare=False)
    stems: dict[PurePosixPath, Mapping[str, Sequence[str]]] = field(default_factory=dict, repr=False, compare=False)
    """Names in the folders that were looked at, by their stems."""

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine, so that looking at its files costs little."""
        return isinstance(self.place, Path)

    def has_folder(self, name: str) -> bool:
        """Return whether a folder of this name is directly in this one."""
        if isinstance(self.place, Path):
            return (self.place / name).is_dir()
        return name in self.names_in(self.place, "").folders

    def has_file(self, name: str) -> bool:
        """Return whether a file of this name, relative to the folder, is there."""
        if isinstance(self.place, Path):
            try:
                return (self.place / name).is_file()
            except OSError:  # such as a name that is too long
                return False
        return PurePosixPath(name).name in self.names_beside(name)

    def suffix_of_ecg(self, record: str) -> str | None:
        """Return the suffix of the first file of a record's name that is an ECG by its content, or None."""
        suffixes = [PurePosixPath(name).suffix for name in self.names_of(record)]
        return next((suffix for suffix in suffixes if suffix and self.is_ecg(record + suffix)), None)

    def names_of(self, record: str) -> Sequence[str]:
        """Return the names of the files beside a record that differ from its name only in their suffix."""
        return self.stems_beside(record).get(same_accents(PurePosixPath(record).name), ())

    def stems_beside(self, record: str) -> Mapping[str, Sequence[str]]:
        """Return the names of the files in the folder of a record, by stems whose accents are encoded in one way."""
        parent = PurePosixPath(record).parent
        if parent not in self.stems:
            stems: dict[str, list[str]] = defaultdict(list)
            for name in sorted(self.names_beside(record)):
                stems[same_accents(PurePosixPath(name).stem)].append(name)
            self.stems[parent] = dict(stems)
        return self.stems[parent]

    def is_ecg(self, name: str) -> bool:
        """Return whether a file is an ECG by its content."""
        file = self.place / name
        if isinstance(file, Path):
            return is_ecg(file)
        with TemporaryDirectory(prefix="ecgmtl-") as sketches:
            remote.sketch(file.with_name(""), {file.name: HEAD}, Path(sketches))
            return is_ecg(Path(sketches) / file.name)

    def names_beside(self, record: str) -> frozenset[str]:
        """Return the names of the files in the folder of a record. None outside this folder is looked for remotely."""
        parent = PurePosixPath(record).parent
        if isinstance(self.place, Path):
            return frozenset(child.name for child in (self.place / parent).glob("*"))
        if not lies_inside(record):
            return frozenset()
        return self.names_in(self.place, "" if parent == PurePosixPath() else f"{parent}/").files

    def names_in(self, place: RemotePath, name: str) -> Names:
        """Return the names in the remote folder `place`, or in one that is in it, as `a/b/`.

        Raises:
            SourceError: it refuses to be listed.
            PlaceError: the place cannot be reached.
        """
        if name not in self.listed:
            try:
                entries = list(remote.list_folder(place / name))
            except FileNotFoundError:
                entries = []
            except RecordError as error:
                raise SourceError(f"{place / name}: its files cannot be listed. {error}") from error
            self.listed[name] = Names(
                frozenset(entry.name for entry in entries if not entry.is_folder),
                frozenset(entry.name for entry in entries if entry.is_folder),
            )
        return self.listed[name]


def same_accents(name: str) -> str:
    """Return a name as most systems encode accents. macOS may store an accent apart from its letter."""
    return unicodedata.normalize("NFC", name)
