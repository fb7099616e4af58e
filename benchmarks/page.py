"""Pages whose tables are written by programs, between two marks."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from data_prep.files import write_text
from ecgmtl.comparison.results import RESULTS

END = "<!-- end -->"


def fill(page: Path, mark: str, between: str) -> None:
    write_text(page, filled(page.read_text(encoding="utf-8"), mark, between))


def filled(text: str, mark: str, between: str) -> str:
    """The text with other words between the mark and the next end.

    Raises:
        ValueError: it lacks a mark.
    """
    begin = f"<!-- {mark} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page should hold the marks {begin} and {END}")
    return f"{before}{begin}\n{between}\n{END}{after}"


def keep(comparisons: Sequence[Path], archive: Path) -> None:
    """What their runs left behind, but for the labels, which are the data's."""
    archive.parent.mkdir(exist_ok=True)
    with tarfile.open(archive, "w:xz") as packed:
        for folder in comparisons:
            packed.add(folder / RESULTS, f"{folder.name}/{RESULTS}")
