"""Write verdicts and summary of comparisons into a page, between its marks. No figure there is typed by hand.

python docs/make/evidence.py claims compare/labels-1.0="All labels" compare/labels-0.1="A tenth of the labels"
python docs/make/evidence.py views views/tenth="Two views at a tenth of the labels" \\
  views/all="Five methods at all labels"
python docs/make/evidence.py short
python docs/make/evidence.py schedules schedules="Both tasks in one stage" --page docs/recipe.md

Each comparison's report and an archive of its runs' results are written to a folder beside the page. The labels that
the runs were evaluated on are left out, because they belong to the data. The summary is made of the tables there.
"""

import argparse
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from page import fill, points_in_words

from ecgmtl.comparison.claims import claim_rows, claims_section
from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.report import REPORT, TABLES, as_markdown, write_report
from ecgmtl.comparison.results import RESULTS
from ecgmtl.comparison.tables import resample_runs

PAGE = Path(__file__).parents[1] / "evidence.md"


class NamedComparison(NamedTuple):
    """A comparison's folder and its heading on the page."""

    folder: Path
    title: str

    @property
    def name(self) -> str:
        return self.title.lower().replace(" ", "-")


class Row(NamedTuple):
    """A row of the summary: an arm's difference from classification alone."""

    labels: str
    method: str
    comparison: str
    """Name of the folder beside the page."""
    arm: str
    is_stopped: bool = False
    """Whether each arm is evaluated at the epoch that is best for the other folds, not at its last one."""


SHORT = (
    Row("all", "one view, weight 0.3", "all-labels", "lambda-0.3"),
    Row("all", "control: the same masks, but the encoder does not learn from the decoder", "all-labels", "detached"),
    Row("all", "pretraining, then labels alone", "all-labels", "pretrain"),
    Row("all", "pretraining, then labels alone", "five-methods-at-all-labels", "pretrain"),
    Row("all", "one view, weight 3", "five-methods-at-all-labels", "one-3"),
    Row("all", "two views, weight 3", "five-methods-at-all-labels", "two-3"),
    Row("all", "two views, a weight that falls from 6 to 0", "five-methods-at-all-labels", "two-decay"),
    Row("all", "two views, weight 3, an earlier run", "two-views-at-all-labels", "two-3"),
    Row("a tenth", "one view, weight 0.3", "a-tenth-of-the-labels", "lambda-0.3"),
    Row("a tenth", "two views, weight 10, last epoch", "two-views-at-a-tenth-of-the-labels", "two-10"),
    Row("a tenth", "two views, weight 10", "two-views-at-a-tenth-of-the-labels", "two-10", is_stopped=True),
    Row("a tenth", "one view, weight 3", "two-views-at-a-tenth-of-the-labels", "one-3", is_stopped=True),
    Row("a tenth", "pretraining, then labels alone", "two-views-at-a-tenth-of-the-labels", "pretrain", is_stopped=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("mark", choices=("claims", "views", "short", "schedules"))
    parser.add_argument("comparisons", nargs="*", metavar="FOLDER=TITLE")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    if arguments.mark == "short":
        fill(arguments.page, "short", summary(arguments.page.with_suffix("")))
        return
    comparisons = [
        NamedComparison(Path(folder), title) for folder, title in (c.split("=", 1) for c in arguments.comparisons)
    ]
    archive = arguments.page.with_suffix("")
    for comparison in comparisons:
        keep(comparison, archive / comparison.name)
    fill(arguments.page, arguments.mark, "\n\n".join(verdicts(comparison, archive.name) for comparison in comparisons))


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
    truths = [comparison.truth.of_fold(fold) for fold in comparison.folds or (None,)]
    patients = [patient for truth in truths for patient in truth.patients.tolist()]
    folds = f" in {len(comparison.folds)} folds" if comparison.is_over_folds else ""
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    return (
        f"### {named.title}\n\n{n_runs} runs of {len(comparison.arms)} arms, evaluated on "
        f"{len(patients):,} validation records of {len(set(patients)):,} patients{folds}; "
        f"[the full report]({archive}/{named.name}/{REPORT[0]}).\n\n{table.rstrip()}"
    )


def summary(archive: Path) -> str:
    """Return the table of the summary, from the tables of the kept comparisons."""
    head = (
        "| labels | how reconstruction is learned | points of macro AUROC over classification alone | evaluated on |",
        "|---|---|---|---|",
    )
    return "\n".join([*head, *(line_of(row, archive / row.comparison) for row in SHORT)])


def line_of(row: Row, folder: Path) -> str:
    """Return one line of the summary."""
    table = pd.read_csv(folder / TABLES / ("late.csv" if row.is_stopped else "arms.csv")).set_index("arm")
    name = "stopped_difference" if row.is_stopped else "difference"
    value, low, high = (100 * table.loc[row.arm, f"{name}{end}"] for end in ("", "_low", "_high"))
    report = (folder / REPORT[0]).read_text()
    n_records = re.search(r"([\d,]+) (?:validation )?records of", report)[1]  # type: ignore[index]
    folds = re.search(r"on (\d+) folds", report)
    n_seeds = pd.read_csv(folder / TABLES / "arms.csv").set_index("arm").loc[row.arm, "n_seeds"]
    units = f"{folds[1]} folds" if folds else f"{n_seeds} seeds"
    points = points_in_words(value, low, high)
    return f"| {row.labels} | {row.method} | {points} | {int(n_records.replace(',', '')):,} records, {units} |"


if __name__ == "__main__":
    main()
