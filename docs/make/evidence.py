"""Write the verdicts of comparisons into docs/evidence.md, between its two marks. No figure there is typed by hand.

python docs/make/evidence.py compare/labels-1.0="All labels" compare/labels-0.1="A tenth of the labels"

Each comparison's report and an archive of its runs' results are written to a folder beside the page. The labels that
the runs were evaluated on are left out, because they belong to the data.
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

PAGE = Path(__file__).parents[1] / "evidence.md"


class NamedComparison(NamedTuple):
    """A comparison's folder and its heading on the page."""

    folder: Path
    title: str

    @property
    def name(self) -> str:
        return self.title.lower().replace(" ", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=TITLE")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    comparisons = [
        NamedComparison(Path(folder), title) for folder, title in (c.split("=", 1) for c in arguments.comparisons)
    ]
    archive = arguments.page.with_suffix("")
    for comparison in comparisons:
        keep(comparison, archive / comparison.name)
    fill(arguments.page, "claims", "\n\n".join(verdicts(comparison, archive.name) for comparison in comparisons))


def keep(comparison: NamedComparison, folder: Path) -> None:
    """Write the report, tables, plots and results. The single-file HTML page is left out: it can be made again."""
    write_report(comparison.folder, folder, comparison.title)
    (folder / REPORT[1]).unlink()
    shutil.make_archive(str(folder / RESULTS), "xztar", comparison.folder, RESULTS)


def verdicts(named: NamedComparison, archive: str) -> str:
    """Return the table of one comparison, without the rule, which the page itself explains."""
    comparison = read_comparison(named.folder)
    section = claims_section(claim_rows(comparison, resample_runs(comparison)))
    table = as_markdown("", [section]).split(f"{section.words[0]}\n\n", maxsplit=1)[1]
    n_patients = len(set(comparison.truth.patients.tolist()))
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    return (
        f"### {named.title}\n\n{n_runs} runs of {len(comparison.arms)} arms, evaluated on "
        f"{len(comparison.truth.patients)} validation records of {n_patients} patients; "
        f"[the full report]({archive}/{named.name}/{REPORT[0]}).\n\n{table.rstrip()}"
    )


if __name__ == "__main__":
    main()
