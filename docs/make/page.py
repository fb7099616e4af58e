"""Pages whose tables are written by programs, between two marks."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from data_prep.files import write_text
from ecgmtl.comparison.results import RESULTS

END = "<!-- end -->"


def fill(page: Path, mark: str, between: str) -> None:
    """Replace what stands on the page between the mark and the next end mark."""
    write_text(page, filled(page.read_text(encoding="utf-8"), mark, between))


def filled(text: str, mark: str, between: str) -> str:
    """Return the text with `between` between the mark and the next end mark.

    Raises:
        ValueError: the text lacks one of the marks.
    """
    begin = f"<!-- {mark} -->"
    before, start, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"the page lacks the marks {begin} and {END}: write both, each on a line of its own")
    return f"{before}{begin}\n{between}\n{END}{after}"


def points_in_words(value: float, low: float, high: float) -> str:
    """Return a difference in points with its interval, with true minus signs."""
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")


def keep(comparisons: Sequence[Path], archive: Path) -> None:
    """Pack the results of all runs, without the labels, which belong to the data."""
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz") as packed:
        for folder in comparisons:
            packed.add(folder / RESULTS, f"{folder.name}/{RESULTS}")
