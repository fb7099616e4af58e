import json

from ecgmtl.inference.run_score import score_of
from ecgmtl.training.report import card_figures, headline, score_in

SUMMARY = {"n_records": 267.0, "macro_auroc": 0.92, "macro_auroc_low": 0.9, "macro_auroc_high": 0.94}
SCORE = "macro AUROC 0.9200 (95 % interval 0.9000 to 0.9400) on the validation split, 267 records"


def test_the_headline_has_scores_with_intervals():
    assert headline(SUMMARY) == SCORE
    assert headline(SUMMARY | {"reconstruction_rmse_mv": 0.178}) == f"{SCORE}; RMSE of masked samples 0.1780 mV"
    assert headline({"n_records": 3.0, "macro_auroc": 0.9}) == "macro AUROC 0.9000 on the validation split, 3 records"
    assert headline(SUMMARY | {"n_undefined_labels": 2.0}) == f"{SCORE}, without 2 labels that all or none of them have"
    assert headline({"n_records": 3.0, "reconstruction_rmse_mv": 0.2}) == (
        "RMSE of masked samples 0.2000 mV on the validation split, 3 records"
    )
    assert headline({"n_records": 3.0}) == "no score on the validation split, 3 records"


def test_the_card_names_scores_as_an_evaluation_does():
    figures = card_figures(SUMMARY | {"reconstruction_rmse_mv": 0.178, "reconstruction_n_samples": 9.0})
    assert [figure.name for figure in figures] == ["macro AUROC", "RMSE mV of masked samples"]


def test_a_score_is_worded_alike_when_it_is_logged_and_when_it_is_exported(tmp_path):
    report = {
        "n_records": 267,
        "classification": {"headline": {"macro_auroc": {"value": 0.92, "low": 0.9, "high": 0.94}}},
    }
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation/metrics.json").write_text(json.dumps(report))
    assert score_in(SUMMARY | {"reconstruction_rmse_mv": 0.178}) == score_of(tmp_path) == SCORE
    assert score_in({"n_records": 3.0}) == ""
    report["classification"]["undefined_labels"] = ["RARE"]
    (tmp_path / "validation/metrics.json").write_text(json.dumps(report))
    assert score_in(SUMMARY | {"n_undefined_labels": 1.0}) == score_of(tmp_path)
    assert score_of(tmp_path) == f"{SCORE}, without 1 label that all or none of them have"
