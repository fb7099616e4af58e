import ast
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgmtl.comparison import claims
from ecgmtl.comparison.claims import claim_rows, joint, judge
from ecgmtl.comparison.claims_file import CLAIMS, SHIPPED, Claim, read_claims
from ecgmtl.comparison.comparison import KEPT_CLAIMS, read_comparison
from ecgmtl.comparison.effects import Effect, Evidence, gained_over_tuned, gained_when_stopped, least_gained
from ecgmtl.comparison.findings import measure, sections
from ecgmtl.comparison.learning_curves import stopped_scores
from ecgmtl.comparison.report import write_report
from ecgmtl.comparison.results import result_path, write_result
from ecgmtl.comparison.statistics import Interval
from ecgmtl.comparison.tables import arm_rows, resample_runs
from ecgmtl.comparison.text import final_section
from ecgmtl.config.parse import ConfigError
from tests import comparisons
from tests.comparisons import make_run, write_comparison

ADVISED, MASKED = "lambda-0.3", "detached"
LOSS = "An auxiliary loss lowers the main loss by 15 to 25 % at equal epochs"
SHIPPED_CLAIMS = read_claims(SHIPPED).claims


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    """Simulate a comparison of the reference and arms with known effects on final score and speed of learning."""

    def simulate(arms, n_seeds=3):
        for arm, (effect, speed, pretraining) in arms.items():
            monkeypatch.setitem(comparisons.ARMS, arm, ("simulated", effect, speed, pretraining))
        write_comparison(tmp_path, ["single", *arms], n_seeds)
        shutil.copy(SHIPPED, tmp_path / KEPT_CLAIMS)
        return tmp_path

    return simulate


def evidence(folder, figure="", **values):
    """Return the evidence of a folder of runs, with one figure changed: by arm, one value per seed."""
    comparison = read_comparison(folder)
    for arm, runs in comparison.arms.items():
        for seed in runs if arm in values else ():
            runs[seed] = runs[seed].model_copy(update={figure: values[arm][seed]})
    return Evidence(comparison, resample_runs(comparison, 200))


def verdicts(folder):
    """Return the verdicts by claim. Claims with several figures have one verdict for each figure."""
    rows = claim_rows(*evidence(folder))
    return {row.claim if row.claim != LOSS else f"{LOSS}, {row.measured}": row.verdict for row in rows}


@pytest.mark.parametrize(
    ("ends", "n_seeds", "bound", "is_change", "expected"),
    [
        ((1.1, 3.0), 3, 1.0, False, "holds"),
        ((0.9, 3.0), 3, 1.0, False, "cannot tell"),
        ((0.2, 0.9), 3, 1.0, False, "does not"),  # there is an effect, but less than is claimed
        ((-3.0, -0.1), 3, 0.0, False, "does not"),
        ((-0.9, 0.4), 3, -1.0, False, "holds"),
        ((1.1, 3.0), 1, 1.0, False, "cannot tell"),
        ((np.nan, np.nan), 3, 1.0, False, "cannot tell"),
        ((-0.9, 0.5), 3, 1.0, True, "does not"),
        ((0.2, 0.5), 3, 1.0, True, "does not"),  # a change that is significant and too small to matter
        ((0.0, 0.0), 3, 1.0, True, "does not"),  # the very same predictions
        ((-3.0, -0.2), 3, 1.0, True, "holds"),
        ((-0.5, 1.5), 3, 1.0, True, "cannot tell"),
    ],
)
def test_a_verdict_follows_the_rule(ends, n_seeds, bound, is_change, expected):
    effect = Effect(Interval(float(np.mean(ends)), *ends), n_seeds)
    assert judge(effect, bound, is_change=is_change) == expected


def test_a_claim_with_several_figures_holds_only_if_all_do():
    assert joint(["holds", "holds"]) == "holds"
    assert joint(["holds", "cannot tell"]) == "cannot tell"
    assert joint(["cannot tell", "does not", "holds"]) == "does not"


def test_claims_hold_with_a_large_known_effect(simulate):
    results = verdicts(simulate({ADVISED: (0.1, 2.5, 0)}))
    assert {verdict for claim, verdict in results.items() if claim.startswith(LOSS)} == {"holds"}
    for claim in (
        "It saves 20 to 30 % of training",
        "It adds 1 to 2 points to the final score",
        "It speeds up the early phase",
    ):
        assert results[claim] == "holds"


def test_claims_do_not_hold_with_a_harmful_arm(simulate):
    results = verdicts(simulate({ADVISED: (-0.1, 0.6, 0)}, n_seeds=5))
    assert {verdict for claim, verdict in results.items() if claim.startswith(LOSS)} == {"does not"}
    for claim in ("It saves 20 to 30 % of training", "It adds 1 to 2 points to the final score"):
        assert results[claim] == "does not"


def test_a_simulated_reduction_of_the_loss_is_recovered(simulate):
    # after evaluation 5 of 20: 0.62 - 0.25 (1 - exp(-5/4)) = 0.4416 and 0.62 - 0.35 (1 - exp(-2.5 5/4)) = 0.2854
    rows = claim_rows(*evidence(simulate({ADVISED: (0.1, 2.5, 0)}, n_seeds=5)))
    row = next(row for row in rows if row.claim == LOSS)
    assert row.effect.value == pytest.approx(100 * (1 - 0.2854 / 0.4416), abs=1.5)
    assert row.effect.low < row.effect.value < row.effect.high
    assert row.n_seeds == 5


def test_saved_time_uses_the_fastest_epoch(simulate):
    # half of the records at 0.05 · 2 instead of 0.05 seconds a step: the same time, except for one delayed run
    known = evidence(simulate({ADVISED: (0.0, 2.0, 0)}, n_seeds=5))
    runs = known.comparison.arms[ADVISED]
    waited = [point.model_copy(update={"seconds": 9 * point.seconds}) for point in runs[0].curve]
    runs[0] = runs[0].model_copy(update={"curve": tuple(waited)})
    rows = {row.claim: row.effect for row in claim_rows(*known)}
    records, time = rows["It saves 20 to 30 % of training"], rows["It saves 20 to 30 % of the time"]
    assert 100 - time.value == pytest.approx(2 * (100 - records.value))
    assert 100 - time.low == pytest.approx(2 * (100 - records.low))


def test_pretraining_counts_except_in_the_claim_on_fine_tuning(simulate):
    # twice as fast after 5 of 20 evaluations: a time t becomes t / 2, and what was learned before is not counted
    rows = {row.claim: row for row in claim_rows(*evidence(simulate({"pretrain": (0.0, 2.0, 5)}, n_seeds=5)))}
    assert rows["Fine-tuning after pretraining converges 20 % faster"].effect.value == pytest.approx(50, abs=10)


def test_a_lower_noise_scale_is_given_in_percent(simulate):
    scales = {"single": (100.0, 120.0, 90.0), ADVISED: (52.0, 60.0, 43.0)}
    noise = {arm: [{"noise_scale.classification": value} for value in values] for arm, values in scales.items()}
    known = evidence(simulate({ADVISED: (0.0, 1.0, 0)}), "diagnostics", **noise)
    row = next(row for row in claim_rows(*known) if "variance" in row.claim)
    assert row.effect.value == pytest.approx(50, abs=3)
    assert row.verdict == "holds"


SWEPT = {f"lambda-{weight}": (0.0, 1.0, 0) for weight in (0.1, 0.3, 3)}


def test_the_advised_weight_is_refuted_by_a_better_one(simulate):
    results = verdicts(simulate(SWEPT | {"lambda-3": (0.25, 1.0, 0)}, n_seeds=5))
    assert results["Weight 0.3 is right for classification"] == "does not"
    assert results["Weights from 0.1 to 0.5 generally work"] == "cannot tell"


def test_a_range_of_weights_works_if_all_of_them_gain(simulate):
    gaining = dict.fromkeys(SWEPT, (0.2, 1.0, 0))
    results = verdicts(simulate(gaining, n_seeds=5))
    assert results["Weights from 0.1 to 0.5 generally work"] == "holds"


def test_the_smallest_gain_allows_for_the_number_of_gains_at_its_upper_end(simulate):
    known = evidence(simulate({"lambda-0.1": (0.0, 1.0, 0), "lambda-3": (0.2, 1.0, 0)}))
    alone = least_gained(known, [("lambda-0.1", "single")])
    both = least_gained(known, [("lambda-0.1", "single"), ("lambda-3", "single")])
    assert both.span.value == alone.span.value
    assert both.span.low == alone.span.low
    assert alone.span.high < both.span.high


def test_a_weight_is_tuned_on_the_other_seeds(simulate):
    scores = {"uncertainty": (0.8, 0.8, 0.8), "lambda-0.1": (0.9, 0.8, 0.8), "lambda-1": (0.7, 0.83, 0.81)}
    known = evidence(simulate(dict.fromkeys(scores, (0.0, 1.0, 0))), "macro_auroc", **scores)
    # without seed 0 lambda-1 is best (0.82 to 0.80), without 1 and 2 lambda-0.1 (0.85 to 0.755 and 0.765)
    (claim,) = (c for c in SHIPPED_CLAIMS if c.arm == "uncertainty" and c.effect == "gained_over_tuned")
    effect = gained_over_tuned(known, claim)
    assert effect.span.value == pytest.approx(100 * np.mean([0.8 - 0.7, 0.8 - 0.8, 0.8 - 0.8]))
    assert effect.n_seeds == 3


def test_each_arm_is_stopped_where_the_other_seeds_are_best(simulate):
    known = evidence(simulate({"pretrain": (0.0, 1.0, 2)}))
    curves = {  # the last evaluations of three seeds; the first two of `pretrain` have no score
        "single": [(0.70, 0.80, 0.60), (0.75, 0.70, 0.60), (0.71, 0.75, 0.60)],
        "pretrain": [(None, None, 0.85), (None, None, 0.80), (None, None, 0.81)],
    }
    for arm, seeds in curves.items():
        for seed, scores in enumerate(seeds):
            run = known.comparison.arms[arm][seed]
            points = [p.model_copy(update={"macro_auroc": s}) for p, s in zip(run.curve, scores, strict=False)]
            known.comparison.arms[arm][seed] = run.model_copy(update={"curve": tuple(points)})
    # the means of the other seeds are best at evaluation 0 (0.73 to 0.725), 1 (0.775 to 0.705) and 1 (0.75 to 0.725)
    stopped = [stopped_scores(known.comparison, arm, [0, 1, 2]) for arm in curves]
    np.testing.assert_allclose(stopped, [[0.70, 0.70, 0.75], [0.85, 0.80, 0.81]])
    claim = Claim(
        title="", measured="", effect="gained_when_stopped", unit="points", arm="pretrain", reference="single"
    )
    effect = gained_when_stopped(known, claim)
    assert effect.span.value == pytest.approx(100 * np.mean([0.15, 0.10, 0.06]))
    assert effect.n_seeds == 3
    assert np.isnan(stopped_scores(known.comparison, "single", [0])).all()


@pytest.mark.parametrize(("effect", "expected"), [(0.1, "holds"), (-0.1, "does not")])
def test_a_learned_weight_is_compared_with_the_tuned_one(effect, expected, simulate):
    results = verdicts(simulate(SWEPT | {"gradnorm": (effect, 1.0, 0)}))
    assert results["GradNorm beats a tuned fixed weight"] == expected


def test_a_factor_with_an_effect_differs_from_one_without(simulate):
    arms = {"factor-adam-1": (0.0, 1.0, 0), "factor-sgd-1": (0.0, 1.0, 0), "factor-sgd-0.08": (-0.12, 1.0, 0)}
    folder = simulate(arms)
    for seed in range(3):
        same = make_run("factor-adam-1", seed).model_copy(update={"arm": "factor-adam-0.08"})
        write_result(result_path(folder, "factor-adam-0.08", seed), same)
    results = verdicts(folder)
    assert results["A constant factor on the loss changes the result with Adam"] == "does not"
    assert results["A constant factor on the loss changes the result with SGD"] == "holds"


def test_one_seed_gives_no_verdict(simulate):
    assert set(verdicts(simulate({ADVISED: (0.1, 2.5, 0)}, n_seeds=1)).values()) == {"cannot tell"}


def test_claims_without_their_arms_are_left_out(simulate):
    comparison = read_comparison(simulate({"uncertainty": (0.0, 1.0, 0)}))
    figures = measure(comparison, n_resamples=50)
    assert figures.claims == []
    assert "Claims" not in [section.title for section in sections(comparison, figures)]


def test_the_report_has_every_claim_with_its_verdict(simulate):
    folder = simulate({ADVISED: (0.1, 2.5, 0), MASKED: (0.0, 1.0, 0)})
    write_report(folder, n_resamples=200)
    table = pd.read_csv(folder / "tables/claims.csv")
    assert len(table) == 12
    known = table.dropna(subset="effect_low")  # times on which the seeds agree have no interval
    assert (known["effect_low"] <= known["effect"]).all()
    text, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for claim in table["claim"]:
        assert claim in text
        assert claim in page
    assert f"- All rows of '{LOSS}' together: the claim holds." in text


def test_all_arms_in_the_shipped_claims_exist():
    shipped = {path.stem for path in SHIPPED.parent.glob("*.yaml")}
    assert {claim.arm for claim in SHIPPED_CLAIMS} | {claim.reference for claim in SHIPPED_CLAIMS} <= shipped


def test_a_folder_can_define_its_own_reference_and_claims(simulate):
    folder = simulate({"uncertainty": (0.1, 2.5, 0), "gradnorm": (0.0, 1.0, 0)})
    (folder / KEPT_CLAIMS).write_text(
        "reference: gradnorm\nclaims: [{title: Better, measured: final score, effect: gained, unit: points, bound: 1, "
        "arm: uncertainty, reference: gradnorm}]\n"
    )
    assert verdicts(folder) == {"Better": "holds"}
    comparison = read_comparison(folder)
    final = final_section(comparison, arm_rows(comparison, resample_runs(comparison, 50)))
    assert "minus gradnorm" in final.table.columns
    assert dict(zip(final.table["arm"], final.table["verdict"], strict=True))["gradnorm"] == "reference"


def test_without_the_file_there_are_no_claims_and_the_shipped_reference(simulate):
    folder = simulate({ADVISED: (0.1, 2.5, 0)})
    (folder / KEPT_CLAIMS).unlink()
    assert verdicts(folder) == {}
    assert read_comparison(folder).reference == read_claims(SHIPPED).reference


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("effect: gaind", "claims.0.effect"),
        ("effect: gained_over_tuned", "the effect 'gained_over_tuned' needs `sweep`"),
        ("effect: gained, bond: 1", "claims.0.bond: there is no such setting; the file has reference,"),
        ("effect: saved, reference: c", "has reference 'c', but the effect 'saved' is measured against 'a'"),
    ],
)
def test_an_error_in_a_claim_is_reported_with_its_key(changed, message, tmp_path):
    path = tmp_path / CLAIMS
    reference = "" if "reference" in changed else "reference: a, "
    claim = "{title: t, measured: m, unit: u, arm: b, " + reference + changed + "}"
    path.write_text(f"reference: a\nclaims: [{claim}]\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_claims(path)


def test_no_arm_is_named_in_the_package():
    arms = {path.stem for path in SHIPPED.parent.glob("[!_]*.yaml")}
    named = {
        f"{path.name}:{node.lineno}: {node.value}"
        for path in Path(claims.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in arms
    }
    assert named == set()
