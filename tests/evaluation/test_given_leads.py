import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.lead_set import LeadSet
from data_prep.leads import BASIS_INDEX, STANDARD_LEADS
from ecgmtl.data.lead_algebra import algebra, extend_mask
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.evaluation.evaluate import EvaluationError, Further, evaluate, evaluate_further
from ecgmtl.evaluation.given_leads import ALL, HALVES, INDEPENDENT, report_given_leads, st_samples
from ecgmtl.evaluation.protocols import PROTOCOLS
from ecgmtl.evaluation.reconstruction import reconstruct
from ecgmtl.evaluation.report import as_text, write_evaluation
from tests.evaluation.test_evaluate import make_checkpoint, make_split
from tests.wfdb_files import beats

LEADS = LeadSet.parse("I,V2")
MASKED = [1, 6, 8, 9, 10, 11]
"""II, V1, V3 to V6; then III, aVR, aVL and aVF, which II is part of."""


@pytest.fixture(scope="module")
def split():
    """Noise on beats, so that there is an ST segment."""
    found = make_split(6)
    found.signals.div_(20, rounding_mode="floor").add_(torch.from_numpy(np.rint(1000 * beats().T).astype(np.int16)))
    return found


@pytest.fixture(scope="module")
def report(split):
    torch.set_num_threads(1)
    model = make_checkpoint().model
    return report_given_leads(model, split, LEADS, (MaskingSettings(leads=0.5),), st_samples(split), seed=3)


def errors(split, masking):
    signals, reconstructed, mask = reconstruct(make_checkpoint().model, split, torch.arange(6), masking, 3)
    return (reconstructed.double() - signals).numpy(), extend_mask(mask).numpy()


def test_figures_are_those_of_the_leads_that_were_not_given(report, split):
    error, _ = errors(split, LEADS.mask)
    for pool, rows in ((INDEPENDENT, MASKED), (ALL, [*MASKED, 2, 3, 4, 5]), ("lead V4", [9]), ("lead aVF", [5])):
        wanted = np.sqrt(np.square(error[:, rows]).mean())
        assert report.figure("leads", "all", pool, "rmse_mv") == pytest.approx(wanted, rel=1e-6)
        assert report.figure("leads", "all", pool, "n_samples") == 6 * 1000 * len(rows)
    pools = set(report.figures[report.figures["masked"] == "leads"]["pool"])
    assert not pools & {"lead I", "lead V2"}
    assert {f"lead {lead}" for lead in STANDARD_LEADS} - {"lead I", "lead V2"} < pools


def test_derived_leads_are_exact_and_count_among_all_12_leads(split):
    leads = LeadSet.parse("I,II,V3")
    model = make_checkpoint().model
    basis = split.signals[:, BASIS_INDEX].float()
    split = replace(split, signals=(algebra() @ basis).round().to(torch.int16))  # noise on 12 leads is no ECG
    found = report_given_leads(model, split, leads, (MaskingSettings(leads=0.5),), st_samples(split), seed=3)
    error, _ = errors(split, leads.mask)
    squared = np.square(error[:, [6, 7, 9, 10, 11]])
    assert found.figure("leads", "all", INDEPENDENT, "rmse_mv") == pytest.approx(np.sqrt(squared.mean()), rel=1e-6)
    wanted = np.sqrt(squared.sum(axis=1).mean() / 9)
    assert found.figure("leads", "all", ALL, "rmse_mv") == pytest.approx(wanted, rel=1e-4)
    assert found.figure("leads", "all", ALL, "n_samples") == 9 * 6 * 1000


def test_groups_are_those_of_the_split(report, split):
    error, _ = errors(split, LEADS.mask)
    wanted = np.abs(error[split.groups[:, 0] > 0][:, MASKED]).mean()
    assert report.figure("leads", "all", "NORM", "mae_mv") == pytest.approx(wanted, rel=1e-6)


def test_st_figures_are_those_of_the_samples_in_st_segments(report, split):
    error, mask = errors(split, HALVES["time"])
    st = st_samples(split).numpy()
    assert 0 < st.mean() < 0.1
    where = (mask & st[:, None])[:, BASIS_INDEX]
    wanted = np.abs(error[:, BASIS_INDEX][where]).mean()
    assert report.figure("time", "ST", INDEPENDENT, "mae_mv") == pytest.approx(wanted, rel=1e-6)
    assert report.figure("time", "ST", INDEPENDENT, "n_samples") == where.sum()


@pytest.mark.parametrize(("half", "alike"), [("time", True), ("time_apart", False)])
def test_half_of_the_time_is_masked_in_all_leads_at_once_or_independently(split, report, half, alike):
    error, mask = errors(split, HALVES[half])
    assert mask[:, BASIS_INDEX].mean() == pytest.approx(0.5, abs=0.1)
    assert (mask == mask[:, :1]).all() == alike
    wanted = np.abs(error[mask]).mean()
    assert report.figure(half, "all", ALL, "mae_mv") == pytest.approx(wanted, rel=1e-6)


def test_the_mean_correlation_is_that_of_each_record_and_lead(report, split):
    signals, reconstructed, _ = reconstruct(make_checkpoint().model, split, torch.arange(6), LEADS.mask, 3)
    each = [np.corrcoef(signals[i, row], reconstructed[i, row])[0, 1] for i in range(6) for row in MASKED]
    assert report.figure("leads", "all", INDEPENDENT, "mean_r") == pytest.approx(np.mean(each), abs=1e-5)


def test_the_report_contains_all_measurements(split, tmp_path):
    stored = make_checkpoint()
    plain = evaluate(stored, split, PROTOCOLS["whole"], n_bootstrap=0)
    found = evaluate_further(plain, stored, split, Further(leads=LEADS))
    text = as_text(found, 30)
    assert "## Reconstruction from I, V2" in text
    assert "ST segment, independent leads" in text
    for whose in ("", " of each lead independently"):
        assert f"### Masked: 50% of the time{whose}, in blocks of 0.4 s" in text
    assert "lead V4" not in text.split("## Reconstruction from")[1]
    assert {"given_leads.csv"} <= {path.name for path in write_evaluation(found, tmp_path)}
    tree = json.loads((tmp_path / "metrics.json").read_text())["given_leads"]
    assert tree["reconstructed"] == list(LEADS.reconstructed)
    assert len(tree["figures"]) == len(found.given_leads.figures)
    assert found.summary()["from_leads_pearson_r"] == found.given_leads.figure("leads", "all", INDEPENDENT, "pearson_r")


def test_a_model_without_trained_decoder_is_rejected(split):
    stored = make_checkpoint()
    stages = tuple(s.model_copy(update={"losses": ("classification",)}) for s in stored.config.stages[1:])
    object.__setattr__(stored, "config", stored.config.model_copy(update={"stages": stages}))
    plain = evaluate(stored, split, PROTOCOLS["whole"], n_bootstrap=0)
    with pytest.raises(EvaluationError, match="not trained to reconstruct"):
        evaluate_further(plain, stored, split, Further(leads=LEADS))
