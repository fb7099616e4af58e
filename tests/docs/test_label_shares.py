"""The picture over the share of labels shows what the tables of the page of evidence have."""

import pandas as pd
import pytest

from docs.make.label_shares import COMPARISONS, DOCS, METHODS, draw, points
from ecgmtl.comparison.report import TABLES

ALONE, PRETRAINED, ONE_VIEW, TWO_VIEWS = METHODS


def test_a_point_is_the_score_at_the_epoch_that_is_best_by_the_other_folds():
    table = pd.read_csv(DOCS / "evidence" / COMPARISONS[10] / TABLES / "late.csv").set_index("arm")
    tenth = points(TWO_VIEWS, "stopped")[0]
    assert tenth.share == 10
    assert tenth.value == pytest.approx(100 * table.loc["two-10", "stopped"])
    assert tenth.low < tenth.value < tenth.high


def test_the_reference_has_no_difference_to_itself():
    assert points(ALONE, "stopped_difference") == []
    assert [point.share for point in points(ALONE, "stopped")] == [10, 100]


def test_an_arm_that_was_not_run_is_left_out(tmp_path):
    for folder in COMPARISONS.values():
        (tmp_path / folder / TABLES).mkdir(parents=True)
        row = {"arm": "single", "stopped": 0.9, "stopped_low": 0.89, "stopped_high": 0.91}
        differences = dict.fromkeys(("stopped_difference", "stopped_difference_low", "stopped_difference_high"))
        pd.DataFrame([row | differences]).to_csv(tmp_path / folder / TABLES / "late.csv", index=False)
    assert points(PRETRAINED, "stopped", tmp_path) == points(ONE_VIEW, "stopped", tmp_path) == []
    scores, _ = draw(tmp_path).axes
    assert [text.get_text() for text in scores.get_legend().get_texts()] == ["classification alone"]
