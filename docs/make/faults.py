"""Write the table of docs/faults.md: `PYTHONPATH=. python docs/make/faults.py [RESULTS …]`.

RESULTS are results files of `python -m benchmarks.faults`, which docs/faults.jsonl collects.
"""

import json
import sys
from pathlib import Path

from page import fill

from benchmarks.faults import load_faults, read, table
from data_prep.files import write_text

PAGE = Path(__file__).parents[1] / "faults.md"
KEPT = PAGE.with_suffix(".jsonl")
MARK = "faults.py"


def main(*results: Path) -> None:
    load_faults()
    lines = [line for path in (KEPT, *results) for line in read(path) if not line.error]
    latest = {(line.name, line.scale, line.seed): line for line in lines}.values()
    write_text(KEPT, "".join(json.dumps(line._asdict()) + "\n" for line in latest))
    fill(PAGE, MARK, table(list(latest)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
