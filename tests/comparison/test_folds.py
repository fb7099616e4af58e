"""Figures of a simulated comparison over folds, with effects that are known."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from power import Design, simulate
from scipy.stats import t as student
from scipy.stats import ttest_1samp, ttest_rel

from ecgmtl.comparison.claims import claim_rows, corrected
from ecgmtl.comparison.claims_file import read_claims
from ecgmtl.comparison.comparison import FACTS, KEPT_CLAIMS, read_comparison
from ecgmtl.comparison.findings import findings, measure, sections
from ecgmtl.comparison.report import write_report
from ecgmtl.comparison.results import result_path
from ecgmtl.comparison.statistics import (
    Interval,
    hierarchical_samples,
    holm,
    mean_interval,
    power_factor,
    t_samples,
    t_test_p,
)
from ecgmtl.comparison.survival import restricted_mean_ratio_t
from ecgmtl.comparison.tables import resample_runs
from ecgmtl.metrics.bootstrap import interval
from ecgmtl.metrics.ranking import macro_auroc
from tests.comparisons import without_plots, write_folds

SHOWN = ("single", "fixed_1", "fixed_10", "pretrain")
SIX = """
reference: single
claims:
  - {title: Two views beat classification alone, measured: final score, effect: gained, unit: points, bound: 0.3,
     arm: pretrain, reference: single, label_share: 1, smallest_effect: 0.8}
  - {title: Two views beat it by 2 points at a tenth, measured: final score, effect: gained, unit: points, bound: 2,
     arm: pretrain, reference: single, label_share: 0.1}
  - {title: Two views beat one, measured: final score, effect: gained, unit: points, arm: pretrain, reference: fixed_1}
  - {title: A high constant weight beats a decaying one, measured: final score, effect: gained, unit: points,
     arm: fixed_1, reference: fixed_10}
  - {title: Joint beats pretraining and fine-tuning, measured: final score, effect: gained, unit: points,
     arm: fixed_1, reference: pretrain}
  - {title: It saves a fifth of the records, measured: "records until 95 %", effect: saved, unit: "%", bound: 20,
     arm: fixed_1, reference: single}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    write_folds(folder, SHOWN)
    (folder / KEPT_CLAIMS).write_text(SIX)
    (folder / FACTS).write_text(json.dumps({"label_share": 1.0}))
    with without_plots():  # the interrupted comparison below is plotted
        write_report(folder)
    return folder


@pytest.fixture(scope="module")
def comparison(folder):
    return read_comparison(folder)


@pytest.fixture(scope="module")
def figures(comparison):
    return measure(comparison, 100)


def scores(comparison, arm):
    """Return the final scores of an arm, with a row per fold and a column per seed."""
    return np.array([[comparison.arms[arm][fold, seed].macro_auroc for seed in range(2)] for fold in range(1, 10)])


def test_the_difference_is_a_paired_t_test_over_folds(comparison, figures):
    rows = {row.arm: row for row in figures.folds}
    base = scores(comparison, "single").mean(axis=1)
    tests = {arm: ttest_rel(scores(comparison, arm).mean(axis=1), base) for arm in rows if arm != "single"}
    for arm, test in tests.items():
        low, high = test.confidence_interval()
        expected = (np.mean(scores(comparison, arm) - scores(comparison, "single")), low, high)
        assert rows[arm].difference == pytest.approx(expected, abs=1e-5)
        assert rows[arm].p == pytest.approx(test.pvalue, rel=0.02, abs=2e-5)
    assert [rows[arm].p_holm for arm in tests] == pytest.approx(holm(np.array([rows[arm].p for arm in tests])))
    assert (rows["single"].n_folds, rows["single"].n_runs, rows["single"].n_records) == (9, 18, 540)


def test_verdicts_over_folds_match_known_effects(folder):
    table = pd.read_csv(folder / "tables/folds.csv").set_index("arm")
    assert (table.loc[["fixed_10", "pretrain"], "p_holm"] < 0.05).all()
    assert table.loc["fixed_10", "difference"] < 0 < table.loc["pretrain", "difference"]
    cells = pd.read_csv(folder / "tables/cells.csv")
    assert len(cells) == 18 * len(SHOWN)
    means = cells.groupby(["arm", "fold"])["difference"].mean().groupby("arm").mean()
    assert means["pretrain"] == pytest.approx(table.loc["pretrain", "difference"], rel=1e-4)


def test_all_folds_together_rank_logits_of_different_scales(comparison, figures):
    row = next(row for row in figures.folds if row.arm == "pretrain")
    seeds = [
        macro_auroc(
            np.concatenate([comparison.arms["pretrain"][fold, seed].scores for fold in range(1, 10)]),
            comparison.truth.labels,
        )
        for seed in range(2)
    ]
    assert row.pooled == pytest.approx(np.mean(seeds))
    assert row.pooled < row.mean.value - 0.005  # scales that differ by chance cost what no model lacks


def test_the_six_claims_are_data_and_apply_to_their_share_of_labels(folder, comparison):
    rows = {row.claim: row for row in claim_rows(comparison, resample_runs(comparison))}
    titles = [claim.title for claim in read_claims(folder / KEPT_CLAIMS).claims]
    assert list(rows) == [title for title in titles if "tenth" not in title]
    assert all(row.n_seeds == 9 for row in rows.values())
    high = rows["A high constant weight beats a decaying one"]
    assert high.verdict == "holds"
    difference = 100 * (scores(comparison, "fixed_1") - scores(comparison, "fixed_10")).mean(axis=1)
    assert high.effect == pytest.approx(mean_interval(difference), abs=1e-3)
    first = rows["Two views beat classification alone"]
    expected = ttest_1samp((scores(comparison, "pretrain") - scores(comparison, "single")).mean(axis=1), 0.003).pvalue
    assert t_test_p(first.effect, 9, 0.3) == pytest.approx(expected, rel=1e-2)
    assert first.planned_smallest_effect == 0.8
    text = (folder / "report.md").read_text()
    assert "(0.8 by the simulation before)" in text
    assert "about a different fraction of labels: Two views beat it by 2 points at a tenth." in text
    tenth = read_comparison(folder)
    rows = claim_rows(type(tenth)(tenth.truth, tenth.arms, 0.1, tenth.claims), {})
    assert "Two views beat it by 2 points at a tenth" in {row.claim for row in rows}


def test_verdicts_on_claims_survive_correction(comparison):
    row = claim_rows(comparison, {})[0]._replace(n_seeds=9, bound=0.0, is_change=False)
    half = student.ppf(0.975, 8) * 0.1
    weak, strong = ((mean, mean - half, mean + half) for mean in (0.25, 1.0))  # p = 0.037 and 1e-5
    alone = corrected([row._replace(effect=Interval(*weak), verdict="holds")])
    assert alone[0].verdict == "holds"
    pair = [row._replace(effect=Interval(*each), verdict="holds") for each in (weak, weak, strong)]
    assert [each.verdict for each in corrected(pair)] == ["cannot tell", "cannot tell", "holds"]
    within = row._replace(is_change=True, bound=1.0, verdict="does not", effect=Interval(0.0, -half, half))
    assert corrected([within])[0].verdict == "does not"


def test_each_fold_has_a_threshold_of_its_own(comparison, figures):
    row = next(row for row in figures.thresholds if row.arm == "fixed_10" and row.share == 0.95)
    assert row.ratio_t.value > 1
    times, reached = np.array([1.0, 2.0, 4.0, 3.0]), np.ones(4, bool)
    others, units = (np.array([2.0, 2.0, 5.0, 6.0]), reached), np.array([1, 1, 2, 2])
    value, low, high = restricted_mean_ratio_t((times, reached), others, 10.0, units)
    assert value == pytest.approx(10 / 15)
    spread = np.log(3 / 4) - np.log(7 / 11)  # two folds, each the jackknife's estimate without the other
    assert np.log(high / low) == pytest.approx(2 * student.ppf(0.975, 1) * abs(spread) / 2)


def test_the_report_says_what_it_is_over(folder, comparison, figures):
    text, page = ((folder / name).read_text() for name in ("report.md", "report.html"))
    assert "on 9 folds (1, 2, 3, 4, 5, 6, 7, 8, 9) with up to 2 seeds each, 72 runs" in text
    assert "540 records of 540 patients" in text
    assert "over seeds" not in re.sub(r"averaged over the seeds|mean over seeds|as means over seeds", "", text)
    assert "cannot tell" in text
    assert "smallest difference shown" in page
    assert "all folds together" in page
    assert any("With a power of 80 %" in sentence for sentence in findings(comparison, figures))
    assert [part.title for part in sections(comparison, figures)][:4] == ["Findings", "Claims", "Arms", "Final score"]


def test_an_interrupted_comparison_is_reported_on_the_cells_there_are(tmp_path):
    write_folds(tmp_path, ["single", "pretrain"], n_folds=3)
    for seed, fold in ((1, 3), (0, 2), (1, 2)):
        result_path(tmp_path, "pretrain", seed, fold).unlink()
    write_report(tmp_path)
    table = pd.read_csv(tmp_path / "tables/folds.csv").set_index("arm")
    assert list(table.loc["pretrain", ["n_folds", "n_runs", "n_records"]]) == [2, 3, 120]
    assert np.isnan(table.loc["pretrain", "pooled"])


def test_a_single_fold_is_reported_over_patients_and_seeds(tmp_path):
    write_folds(tmp_path, ["single", "pretrain"], n_folds=1, n_seeds=3)
    comparison = read_comparison(tmp_path)
    assert comparison.units([(1, 0), (1, 2)]).tolist() == [0, 2]
    assert measure(comparison, 50).folds == []
    write_report(tmp_path, n_resamples=50)


def test_only_the_t_interval_over_folds_covers_whatever_training_records_contribute():
    for training, low_end, high_end in ((0.0, 0.95, 0.99), (1.0, 0.84, 0.91)):
        rng, n = np.random.default_rng(1), 800
        folds = rng.normal(0, 0.33, (n, 9, 1)) + rng.normal(0, training, (n, 9, 1))
        runs = folds + rng.normal(0, 0.43, (n, 9, 2))
        covered, resampled = [], []
        for values in runs:
            span = mean_interval(values.mean(axis=1))
            covered.append(span.low < 0 < span.high)
            patients = values[:, :, None] + rng.normal(0, 0.33, (9, 1, 100))  # those of a fold are the same in its runs
            low, high = interval(hierarchical_samples(values.ravel(), patients.reshape(-1, 100)))
            resampled.append(low < 0 < high)
        assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
        assert low_end < np.mean(resampled) < high_end


def test_quantiles_of_t_give_the_t_interval():
    values = np.array([0.1, 0.4, 0.2, 0.9])
    samples = t_samples(values)
    assert Interval(samples.mean(), *interval(samples)) == pytest.approx(mean_interval(values), abs=1e-3)
    assert np.isnan(t_samples(values[:1])).all()


@pytest.mark.parametrize(("tests", "seeds"), [(1, 2), (8, 2), (1, 1)])
def test_the_simulated_smallest_effect_is_that_of_noncentral_t(tests, seeds):
    design = Design(tests=tests, seeds=seeds)
    power = simulate(design, 20_000)
    error = np.sqrt((design.patients**2 + design.seed_spread**2 / seeds) / design.folds)
    half_width = student.ppf(0.975, design.folds - 1) * error
    assert power.smallest_effect == pytest.approx(power_factor(9, 0.05 / tests) * half_width, rel=0.02)
    assert power.coverage == pytest.approx(0.95, abs=0.005)
    assert power.chances[1.0] > power.chances[0.5] > power.chances[0.3]
