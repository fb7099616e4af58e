"""The list of faults, and a few of them made for real at a small scale."""

import math

import pytest

from benchmarks.faults import Line, load_faults, read, run_here, table
from benchmarks.survival.registry import FAULTS, Most
from docs.make.faults import KEPT, MARK, PAGE
from docs.make.page import filled

load_faults()


def test_a_fault_is_survived_if_every_required_figure_is_within_its_bound():
    required = {"lost": Most(0), "slowest": Most(1, "s")}
    made = FAULTS["R1"]._replace(required=required)
    assert made.is_survived({"lost": 0, "slowest": 1.0})
    for figures in ({"lost": 1, "slowest": 0.5}, {"lost": 0}, {"lost": 0, "slowest": math.nan}):
        assert not made.is_survived(figures)


def test_the_table_holds_the_result_with_the_most_cases_of_each_fault():
    lines = [Line("R2", scale, 0, f"{scale} cases", {}, 1.0) for scale in (0.1, 1.0, 0.5)]
    rows = table([*lines, Line("R1", 1.0, 0, "", {}, 1.0, "ended with 1")]).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| R1", "| R2"]
    assert "1.0 cases" in rows[1]
    assert rows[0].endswith("| ended with 1 | **no** |")


@pytest.mark.parametrize("name", ["R2", "R5"])
def test_faults_of_files_are_survived(name, tmp_path):
    line = run_here(name, 0.02, 1, tmp_path)
    assert line.is_survived, line
    assert line.figures.keys() == FAULTS[name].required.keys()


def test_the_page_has_the_table_of_the_results_beside_it():
    lines = read(KEPT)
    assert filled(PAGE.read_text(encoding="utf-8"), MARK, table(lines)) == PAGE.read_text(encoding="utf-8")
    assert not [line.name for line in lines if line.name not in FAULTS]
