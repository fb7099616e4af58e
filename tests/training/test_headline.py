from ecgmtl.training.report import headline


def test_the_headline_has_scores_with_intervals():
    summary = {
        "n_records": 267.0,
        "macro_auroc": 0.92,
        "macro_auroc_low": 0.9,
        "macro_auroc_high": 0.94,
        "reconstruction_rmse_mv": 0.178,
    }
    assert headline(summary) == (
        "validation split, 267 records: macro AUROC 0.9200 (95 % interval 0.9000 to 0.9400), "
        "RMSE of masked samples 0.1780 mV"
    )
    assert headline({"n_records": 3.0, "reconstruction_rmse_mv": 0.2}).endswith(
        "3 records: RMSE of masked samples 0.2000 mV"
    )
