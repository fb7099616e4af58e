"""Numbers of a prediction's results by outcome, and the files that are not read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from data_prep.places import File
from data_prep.readers import OtherFile, format_names, summarize
from data_prep.readers.other_files import OtherFileKind
from ecgmtl.inference.parts import Receipt
from ecgmtl.inference.predictor import PredictorError
from ecgmtl.inference.result import Prediction, Result


@dataclass
class Counts:
    """Results so far."""

    ok: int = 0
    failed: int = 0
    undecided: int = 0
    kept: int = 0
    """Number of results that are an earlier run's."""
    n_parts: int = 0
    """Number of parts of the table."""
    others: list[OtherFile] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Number of records that have a result."""
        return self.ok + self.failed

    @property
    def without_reader(self) -> int:
        """Number of files that may be ECGs, in formats that are not read."""
        return sum(other.kind is OtherFileKind.NO_READER for other in self.others)

    def only_records(self, files: Iterable[File | OtherFile]) -> Iterator[File]:
        """Yield the records among files, and keep the others."""
        for file in files:
            if isinstance(file, OtherFile):
                self.others.append(file)
            else:
                yield file

    def add(self, result: Result) -> None:
        """Count one result."""
        if isinstance(result, OtherFile):
            self.others.append(result)
        elif isinstance(result, Prediction):
            self.ok, self.undecided = self.ok + 1, self.undecided + (result.undecided is not None)
        else:
            self.failed += 1

    def add_part(self, receipt: Receipt) -> None:
        """Count the results of one receipt."""
        self.ok, self.failed = self.ok + receipt.ok, self.failed + receipt.failed
        self.undecided, self.n_parts = self.undecided + receipt.undecided, self.n_parts + 1
        self.kept += receipt.kept * (receipt.ok + receipt.failed)

    def require_ecgs(self, paths: Sequence[str], n_files: int) -> None:
        """Raise PredictorError if no ECG was found at `paths`."""
        if not n_files:
            others = "\n".join(["", *summarize(self.others)])
            raise PredictorError(f"{', '.join(paths)}: no ECG file found; the formats are {format_names()}.{others}")
