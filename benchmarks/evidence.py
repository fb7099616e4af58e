"""Writes the verdicts of comparisons into docs/evidence.md, between its two marks; no figure there is typed by hand.

python benchmarks/evidence.py compare/labels-1.0="All labels" compare/labels-0.1="A tenth of the labels"
"""

import argparse
from pathlib import Path

from page import fill

from ecgmtl.comparison.claims import claim_rows, claims_section
from ecgmtl.comparison.report import as_markdown
from ecgmtl.comparison.results import read_comparison
from ecgmtl.comparison.tables import resample_runs

PAGE = Path(__file__).parent.parent / "docs/evidence.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("comparisons", nargs="+", metavar="FOLDER=TITLE")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    parts = [verdicts(*comparison.split("=", maxsplit=1)) for comparison in given.comparisons]
    fill(given.page, "claims", "\n\n".join(parts))


def verdicts(folder: str, title: str) -> str:
    """The table of one comparison; the rule is told by the page itself."""
    comparison = read_comparison(Path(folder))
    section = claims_section(claim_rows(comparison, resample_runs(comparison)))
    told = as_markdown("", [section]).split(f"{section.words[0]}\n\n", maxsplit=1)[1]
    records = f"{len(comparison.truth.patients)} validation records of {len(set(comparison.truth.patients.tolist()))}"
    n_runs = sum(len(runs) for runs in comparison.arms.values())
    return (
        f"### {title}\n\n{n_runs} runs of {len(comparison.arms)} arms, judged on {records} patients.\n\n{told.rstrip()}"
    )


if __name__ == "__main__":
    main()
