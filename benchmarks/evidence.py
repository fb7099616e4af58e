"""Writes the verdicts of comparisons into docs/evidence.md, between its two marks; no figure there is typed by hand.

python benchmarks/evidence.py compare/labels-1.0="All labels" compare/labels-0.1="A tenth of the labels"

The whole report of each goes to a folder beside the page, with what each run left behind in one archive, but for the
labels that they were judged by: those are the data's.
"""

import argparse
import shutil
from pathlib import Path
from typing import NamedTuple

from page import fill

from ecgmtl.comparison.claims import claim_rows, claims_section
from ecgmtl.comparison.report import REPORT, as_markdown, write_report
from ecgmtl.comparison.results import RESULTS, read_comparison
from ecgmtl.comparison.tables import resample_runs

PAGE = Path(__file__).parent.parent / "docs/evidence.md"


class Given(NamedTuple):
    folder: Path
    title: str

    @property
    def name(self) -> str:
        return self.title.lower().replace(" ", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=TITLE")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    comparisons = [Given(Path(folder), title) for folder, title in (c.split("=", 1) for c in given.comparisons)]
    beside = given.page.with_suffix("")
    for comparison in comparisons:
        keep(comparison, beside / comparison.name)
    fill(given.page, "claims", "\n\n".join(verdicts(comparison, beside.name) for comparison in comparisons))


def keep(comparison: Given, place: Path) -> None:
    """Report, tables and pictures; the page with all in one is made again by anyone."""
    write_report(comparison.folder, place, comparison.title)
    (place / REPORT[1]).unlink()
    shutil.make_archive(str(place / RESULTS), "xztar", comparison.folder, RESULTS)


def verdicts(given: Given, beside: str) -> str:
    """The table of one comparison; the rule is told by the page itself."""
    comparison = read_comparison(given.folder)
    section = claims_section(claim_rows(comparison, resample_runs(comparison)))
    told = as_markdown("", [section]).split(f"{section.words[0]}\n\n", maxsplit=1)[1]
    n_patients = len(set(comparison.truth.patients.tolist()))
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    return (
        f"### {given.title}\n\n{n_runs} runs of {len(comparison.arms)} arms, judged on "
        f"{len(comparison.truth.patients)} validation records of {n_patients} patients; "
        f"[the whole report]({beside}/{given.name}/{REPORT[0]}).\n\n{told.rstrip()}"
    )


if __name__ == "__main__":
    main()
