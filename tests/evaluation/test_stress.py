import json
import math

import numpy as np
import pytest
import torch

from ecgmtl.evaluation.evaluate import EvaluationError, Further, evaluate, evaluate_further
from ecgmtl.evaluation.perturbations import FAMILIES, PERTURBATIONS, SHORT_SECONDS, CleanRecords
from ecgmtl.evaluation.protocols import PROTOCOLS
from ecgmtl.evaluation.report import as_text, write_evaluation
from ecgmtl.evaluation.stress import Ranker, StressError, report_stress
from ecgmtl.metrics.bootstrap import bootstrap
from ecgmtl.metrics.ranking import macro_auroc, mean_defined
from tests.evaluation.test_evaluate import make_checkpoint, make_split


def rank(model=None, n_bootstrap=40, protocol="whole"):
    stored = make_checkpoint()
    preprocess = stored.config.preprocess
    return Ranker(model or stored.model, make_split(), PROTOCOLS[protocol], preprocess, n_bootstrap, 0, lambda _: None)


@pytest.fixture(scope="module")
def report():
    torch.set_num_threads(1)
    return report_stress(rank())


@torch.inference_mode()
def test_a_loss_is_the_decrease_of_the_macro_auroc(report):
    split, model = make_split(), make_checkpoint().model
    truth = split.labels.numpy() > 0
    signals = split.signals.numpy() / np.float32(1000)
    changed = PERTURBATIONS["arms_swapped"].change(CleanRecords(signals.astype(np.float32), split.fs, split.names))
    changed -= changed.mean(axis=-1, keepdims=True)
    clean, found = (model.classify(torch.from_numpy(x)).double().numpy() for x in (signals, changed))
    row = report.losses.loc["arms_swapped"]
    assert report.clean.value == pytest.approx(macro_auroc(clean, truth))
    assert row["macro_auroc"] == pytest.approx(macro_auroc(found, truth))
    assert row["loss"] == pytest.approx(macro_auroc(clean, truth) - macro_auroc(found, truth))
    a, b = (mean_defined(bootstrap(x, truth, split.patients, 40).auroc) for x in (clean, found))
    np.testing.assert_allclose([row["loss_low"], row["loss_high"]], np.quantile(a - b, [0.025, 0.975]), atol=1e-9)


def test_paired_intervals_are_narrower_than_the_figure_s_own():
    found = report_stress(rank(n_bootstrap=200))
    widths = found.losses["loss_high"] - found.losses["loss_low"]
    assert widths["from_1000_hz"] < 0.5 * (found.clean.high - found.clean.low)


def test_there_is_a_row_for_each_perturbation_and_two_for_each_family(report):
    assert list(report.losses.index) == list(PERTURBATIONS)
    alone = [name for name, perturbation in PERTURBATIONS.items() if not perturbation.family]
    assert list(report.summary.index) == [*alone, *(f"{f}_{kind}" for f in FAMILIES for kind in ("mean", "worst"))]
    for family in FAMILIES:
        members = report.losses[report.losses["family"] == family]["loss"]
        assert report.summary.loc[f"{family}_mean", "loss"] == pytest.approx(members.mean())
        assert report.summary.loc[f"{family}_worst", "loss"] == members.max()
    assert report.worst == (report.losses["loss"].idxmax(), report.losses["loss"].max())


@torch.inference_mode()
def test_a_missing_lead_is_masked_for_the_model():
    split, stored = make_split(), make_checkpoint()
    mask = torch.zeros(len(split), 8, split.n_samples, dtype=torch.bool)
    mask[:, 3] = True  # V2, the fourth of I, II, V1 to V6
    signals = split.signals / 1000
    signals -= signals.mean(dim=-1, keepdim=True)  # as reading does
    wanted = stored.model(signals, mask, ("classification",))["classification"].double().numpy()
    perturbation = PERTURBATIONS["missing_V2"]
    found = rank().logits(perturbation.change, perturbation.missing)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    unmasked = rank().logits(perturbation.change, "")
    assert np.abs(unmasked - found).max() > 1e-3


@pytest.mark.parametrize("protocol", ["helme", "fm-bench"])
def test_every_protocol_has_a_stress_test(protocol):
    found = report_stress(rank(n_bootstrap=0, protocol=protocol))
    assert np.isfinite(found.losses["loss"]).all()
    assert math.isnan(found.clean.low)


def test_losses_are_reported_plotted_and_written(tmp_path):
    stored, split = make_checkpoint(), make_split()
    plain = evaluate(stored, split, PROTOCOLS["whole"], n_bootstrap=0)
    calls = []
    further = Further(stress=True)
    found = evaluate_further(plain, stored, split, further, n_bootstrap=20, progress=lambda *at: calls.append(at))
    assert calls[-1][0] == calls[-1][1]
    assert found.stress.clean.value == pytest.approx(plain.summary()["macro_auroc"])
    text = as_text(found, 30)
    assert "## Stress test" in text
    assert all(description in text for description in found.stress.summary["description"])
    names = {path.name for path in write_evaluation(found, tmp_path)}
    assert {"stress.csv", "stress.png"} <= names
    tree = json.loads((tmp_path / "metrics.json").read_text())["stress"]
    assert set(tree["perturbations"]) == set(PERTURBATIONS)
    assert found.summary()["stress_worst_loss"] == found.stress.worst[1]


def test_a_model_without_trained_classifier_has_no_stress_test():
    stored, split = make_checkpoint("pretrain"), make_split(8)
    plain = evaluate(stored, split, PROTOCOLS["whole"])
    with pytest.raises(EvaluationError, match="not trained to classify"):
        evaluate_further(plain, stored, split, Further(stress=True))


def test_a_short_record_is_padded_as_in_prediction():
    ranker = rank(n_bootstrap=0)
    signals = ranker.split.batch(torch.arange(len(ranker.split))).signals
    n_short = round(SHORT_SECONDS * ranker.split.fs)
    filled = torch.zeros_like(signals)
    filled[..., :n_short] = torch.from_numpy(ranker.preprocess.level(signals[..., :n_short].numpy()))
    with torch.inference_mode():
        expected = ranker.model.classify(filled).double().numpy()
    np.testing.assert_allclose(ranker.logits(PERTURBATIONS["short"].change, ""), expected, atol=1e-5)


def test_output_that_is_not_finite_is_named():
    model = make_checkpoint().model
    with torch.no_grad():
        model.heads["classification"].read.bias.fill_(torch.nan)
    with pytest.raises(StressError, match="as recorded: the model's output is not finite"):
        report_stress(rank(model))
