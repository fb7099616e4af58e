"""The report on a simulated comparison with known effects."""

import base64
import io
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from ecgmtl.comparison import report
from ecgmtl.comparison.comparison import read_comparison
from ecgmtl.comparison.findings import both_directions, findings, listed, measure, sort_out
from ecgmtl.comparison.plots import groups
from ecgmtl.comparison.report import CAPTIONS, as_html, as_markdown, write_report
from ecgmtl.comparison.results import result_path, write_result
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import flat
from ecgmtl.comparison.text import Section, ends, plain, signed
from tests.comparisons import ARMS, make_run, write_comparison

N_RESAMPLES = 300
TABLES = ("arms", "courses", "late", "thresholds", "tuning")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The folder of a report, and the figures that it was written from."""
    folder, measured = tmp_path_factory.mktemp("comparison"), []
    write_comparison(folder, n_seeds=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "measure", lambda *given: measured.append(measure(*given)) or measured[0])
        write_report(folder, n_resamples=N_RESAMPLES)
    return folder, measured[0]


@pytest.fixture(scope="module")
def folder(reported):
    return reported[0]


@pytest.fixture(scope="module")
def figures(reported):
    return reported[1]


def small(folder, arms, n_seeds, **changes):
    """Write a report on few arms, with changes to every run."""
    write_comparison(folder, arms, n_seeds)
    for arm in arms:
        for seed in range(n_seeds):
            write_result(result_path(folder, arm, seed), make_run(arm, seed).model_copy(update=changes))
    return write_report(folder, n_resamples=50).with_name("report.md").read_text()


def test_runs_of_different_code_are_reported(tmp_path):
    assert "different code" not in small(tmp_path / "same", ["single"], 2, made_with="code 1")
    folder = tmp_path / "mixed"
    write_comparison(folder, [(other := next(arm for arm in ARMS if arm != "single")), "single"], 2)
    for arm, made_with in ((other, "code 2, torch 2"), ("single", "code 1, torch 1")):
        write_result(result_path(folder, arm, 0), make_run(arm, 0).model_copy(update={"made_with": made_with}))
    text = write_report(folder, n_resamples=50).with_name("report.md").read_text()
    assert f"arms: single with code 1, torch 1; {other} with code 2, torch 2. To compare" in text


def rows_of(text, section):
    """Return the table of a section, indexed by its first column."""
    part = text.split(f"## {section}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[2:]}


def test_verdicts_match_known_effects(folder):
    rows = rows_of((folder / "report.md").read_text(), "Final score")
    assert list(rows) == list(read_comparison(folder).arms)
    assert rows["single"]["verdict"] == "reference"
    assert rows["fixed_10"]["verdict"] == "worse"
    assert rows["pretrain"]["verdict"] == "better"
    assert rows["shuffled"]["verdict"] == "cannot tell"


def test_findings_are_whole_sentences(folder, figures):
    final, controls, time, loss = findings(read_comparison(folder), figures)
    assert re.match(r"Final macro AUROC: \d of 7 arms differ from single .* pretrain \+0\.0", final)
    assert "fixed_10 -0." in final
    assert controls.startswith("Control arms, whose differences have other causes than a method: shuffled -0.0")
    less, more = time.split("; more")
    assert "fixed_1 0." in less
    assert "fixed_10" in more
    assert "fixed_10" in loss.split("higher")[1]


def test_the_page_embeds_every_plot_and_the_markdown_links_it(folder):
    page, text = ((folder / name).read_text() for name in ("report.html", "report.md"))
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    written = {path.read_bytes() for path in (folder / "pictures").iterdir()}
    assert {base64.b64decode(data) for data in shown} == written
    assert len(written) == len(CAPTIONS)
    assert set(re.findall(r"\]\(pictures/(\w+)\.png\)", text)) == set(CAPTIONS)


def test_the_page_is_self_contained(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert len(re.findall(r"\ssrc=", page)) == len(CAPTIONS)
    assert " href=" not in page


def test_the_page_has_a_dark_mode_for_text_and_plots(folder):
    page = (folder / "report.html").read_text()
    dark = page.split("@media (prefers-color-scheme: dark) {")[1].split("\n}")[0]
    assert "--page: #16181c" in dark
    assert ".plot img { filter: invert(.9) hue-rotate(180deg) }" in dark
    assert page.count('<div class="plot"><img ') == len(CAPTIONS)


def test_wide_tables_and_plots_scroll_by_themselves_on_a_phone(folder):
    page = (folder / "report.html").read_text()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert page.count("<table") == len(re.findall(r'<div class="table(?: words)?"><table', page))
    assert ".table { overflow-x: auto }" in page
    assert ".plot { overflow-x: auto }" in page


def test_a_direction_without_arms_is_not_mentioned():
    assert both_directions("less", [], "more", []) == "no arm differs clearly"
    assert both_directions("less", ["a 0.50"], "more", []) == "less in 1 arm: a 0.50"
    assert both_directions("less", ["a 0.50", "b 0.60"], "more", ["c 2.00"]) == (
        "less in 2 arms: a 0.50, b 0.60; more in 1 arm: c 2.00"
    )


def test_the_page_and_the_markdown_agree(folder):
    page, text = ((folder / name).read_text() for name in ("report.html", "report.md"))
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.findall(r"<h2>(.*)</h2>", page) == titles
    assert titles[0] == "Findings"
    for cells in rows_of(text, "Final score").values():
        assert all(f"<td>{cell}</td>" in page for cell in cells.values())


@pytest.mark.parametrize("name", TABLES)
def test_csv_tables_hold_the_figures(folder, figures, name):
    expected = flat(getattr(figures, name))
    found = pd.read_csv(folder / "tables" / f"{name}.csv")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-9, check_dtype=False)


@pytest.mark.parametrize("name", ["reconstruction", "diagnostics", "weights"])
def test_csv_tables_hold_the_named_figures(folder, figures, name):
    found = pd.read_csv(folder / "tables" / f"{name}.csv")
    pd.testing.assert_frame_equal(found, figures.named[name], rtol=1e-5, check_dtype=False)


def test_figures_in_the_markdown_are_those_of_the_csv_tables(folder):
    rows = rows_of((folder / "report.md").read_text(), "Final score")
    for _, row in pd.read_csv(folder / "tables/arms.csv").iterrows():
        ends = f"[{row['final_low']:.4f}, {row['final_high']:.4f}]"
        assert rows[row["arm"]]["macro AUROC"] == f"{row['final']:.4f} {ends}"


@pytest.mark.parametrize("name", sorted(CAPTIONS))
def test_plots_have_colors(folder, name):
    image = matplotlib.image.imread(io.BytesIO((folder / "pictures" / f"{name}.png").read_bytes()))
    assert image.shape[1] >= 800
    assert (image[::3, ::3, :3].max(axis=2) - image[::3, ::3, :3].min(axis=2) > 0.3).any()


def test_a_large_group_is_plotted_in_parts_of_six(folder):
    comparison = read_comparison(folder)
    run = comparison.arms["fixed_1"][0]
    more = {f"fixed_{k}": {0: run.model_copy(update={"arm": f"fixed_{k}"})} for k in range(1, 9)}
    parts = groups(type(comparison)(comparison.truth, {"single": comparison.arms["single"], **more}))
    assert [(name, len(arms)) for name, arms in parts] == [("fixed weight", 6), ("fixed weight", 2)]


def test_a_report_on_the_reference_alone_can_go_to_another_folder(tmp_path):
    write_comparison(tmp_path / "a", ["single"], 2)
    page = write_report(tmp_path / "a", tmp_path / "b/c", title="A <title>", n_resamples=50)
    text = page.with_name("report.md").read_text()
    assert "<title>A &lt;title&gt;</title>" in page.read_text()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"truth.npz", "results"}
    assert "There is only single; there is nothing to compare yet." in text
    assert "## Reconstruction" not in text


def test_arms_with_one_seed_and_only_a_score_are_reported(tmp_path):
    nothing = {"reconstruction": {}, "diagnostics": {}, "curvature": {}, "mean_weights": {}, "tuning": (), "group": ""}
    text = small(tmp_path, ["single", "fixed_1"], 1, **nothing)
    assert rows_of(text, "Final score")["fixed_1"]["verdict"] == "cannot tell"
    assert not {"Reconstruction", "Diagnostics", "Curvature", "Weights", "Tuning"} & set(
        re.findall("^## (.*)$", text, re.MULTILINE)
    )
    assert "2 ways of training (arms), 1 seed each" in text
    assert "after correction for 0 tests." in text
    assert "nan" not in text


def test_a_reference_at_chance_is_reported(tmp_path):
    text = small(tmp_path, ["single", "fixed_1"], 2, macro_auroc=0.5)
    assert rows_of(text, "Convergence")["fixed_1"]["area"] == "–"


def test_an_arm_without_a_seed_in_common_with_the_reference_is_reported(tmp_path):
    write_result(result_path(tmp_path, "fixed_1", 7), make_run("fixed_1", 7))
    rows = rows_of(small(tmp_path, ["single"], 2), "Final score")
    assert rows["fixed_1"]["minus single"] == "–"


def test_names_cannot_break_the_page_or_a_table():
    parts = [Section("<h>", ("a & b",), pd.DataFrame([{"arm": "<b>|x"}]), notes=("<i>",))]
    page = as_html("t", parts, {})
    assert "<h2>&lt;h&gt;</h2><p>" in page.replace("\n", "")
    assert "&lt;b&gt;|x" in page
    assert "<li>&lt;i&gt;</li>" in page
    assert r"&lt;b>\|x" in as_markdown("t", parts)


def test_undefined_figures_are_dashes():
    nothing = Interval(np.nan, np.nan, np.nan)
    assert (plain(nothing), signed(nothing), ends(nothing, 2)) == ("–", "–", "–")
    assert plain(Interval(0.5, np.nan, np.nan), 2) == "0.50"
    assert signed(Interval(0.5, -0.25, 1.25), 2) == "+0.50 [-0.25, +1.25]"


def test_only_intervals_that_exclude_one_count_as_different():
    spans = {"a": (0.5, 0.4, 0.6), "b": (0.9, 0.8, 1.1), "c": (0.4, 0.3, 0.5), "d": (2.0, 1.5, 3.0), "e": (np.nan,) * 3}
    spans["f"] = (0.5, 0.5 - 1e-16, 0.5 + 1e-16)  # seeds that agree
    faster, slower = sort_out([(arm, Interval(*span)) for arm, span in spans.items()])
    assert faster == ["c 0.40 [0.30, 0.50]", "a 0.50 [0.40, 0.60]"]
    assert slower == ["d 2.00 [1.50, 3.00]"]


def test_long_lists_are_shortened():
    assert listed([]) == ""
    assert listed(list("abcdefgh")) == ": a, b, c, d, e, f and 2 more"


def test_the_report_lists_all_arms(folder):
    assert set(rows_of((folder / "report.md").read_text(), "Arms")) == set(ARMS)
