import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.leads import BASIS_INDEX
from ecgmtl import checkpoint as checkpoints
from ecgmtl.checkpoint import Checkpoint
from ecgmtl.config.run import Config
from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.data.split import Split
from ecgmtl.evaluation.evaluate import EvaluationError, evaluate, evaluate_file
from ecgmtl.evaluation.protocols import PROTOCOLS, ProtocolError, find_protocol
from ecgmtl.evaluation.reconstruction import reconstruct, report_reconstruction
from ecgmtl.evaluation.report import as_text, write_evaluation
from ecgmtl.evaluation.text import render
from ecgmtl.metrics.calibration import Calibration, cross_fit
from ecgmtl.metrics.decisions import brier
from ecgmtl.metrics.ranking import macro_auroc
from ecgmtl.metrics.typicality import Unlike, fit_typicality
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.heads import DecoderSettings

FS = 100.0
LABELS = ("NORM", "MI", "RARE")
CONFIG = Config(encoder=CnnSettings(widths=(8, 8)), decoder=DecoderSettings(width=8, n_blocks=1))


def make_split(n_records=40, n_samples=1000, seed=0):
    """Noise; the second half of the records has label 0, most have label 1, none has label 2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(n_records, len(LABELS))
    labels[n_records // 2 :, 0] = 1
    labels[n_records // 4 :, 1] = 1
    signals = (1000 * torch.randn(n_records, 12, n_samples, generator=generator)).to(torch.int16)
    return Split(
        signals=signals,
        labels=labels,
        label_names=LABELS,
        auxiliary_labels={},
        auxiliary_label_names={},
        names=tuple(f"records100/{i:05d}_lr" for i in range(n_records)),
        patients=np.arange(n_records) // 2,
        groups=labels.numpy()[:, :2],
        group_names=LABELS[:2],
        labeled=np.ones(n_records, dtype=bool),
        fs=FS,
    )


def make_checkpoint(stage="decay", calibration=None):
    torch.manual_seed(1)
    model = CONFIG.build_model(len(LABELS)).eval()
    with torch.no_grad():
        model.heads["classification"].read.weight.mul_(3)  # spread the probabilities of an untrained head
    calibration = calibration or Calibration.identity(len(LABELS))
    return Checkpoint(model, CONFIG, "test", LABELS, calibration, {}, {"stage": stage})


@pytest.fixture(scope="module")
def evaluation():
    torch.set_num_threads(1)
    return evaluate(make_checkpoint(), make_split(), PROTOCOLS["whole"], n_bootstrap=50)


@pytest.mark.parametrize(("name", "starts"), [("helme", range(0, 751, 125)), ("fm-bench", range(0, 751, 250))])
def test_windows_start_where_those_of_the_benchmark_start(name, starts):
    signals = torch.randn(2, 12, 1000)
    expected = torch.stack([signals[:, :, start : start + 250] for start in starts], dim=1)
    torch.testing.assert_close(PROTOCOLS[name].windows(signals, FS), expected, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "fold"), [("helme", np.max), ("fm-bench", np.mean), ("whole", np.mean)])
@torch.inference_mode()
def test_probabilities_are_aggregated_over_windows(name, fold):
    protocol, model, signals = PROTOCOLS[name], make_checkpoint().model, torch.randn(3, 12, 1000)
    windows = protocol.windows(signals, FS)
    one_by_one = np.stack([model.classify(windows[:, w]).double().sigmoid() for w in range(windows.shape[1])])
    found = protocol.logits(model, signals, FS).sigmoid().numpy()
    np.testing.assert_allclose(found, fold(one_by_one, axis=0), atol=1e-6)


def test_records_unlike_the_training_records_are_counted():
    split = make_split(200)
    signals = [split.signals.float().numpy() / 1000]
    model = replace(make_checkpoint(), typicality=fit_typicality(signals, signals, FS))
    halves = torch.cat([split.signals[:100], split.signals[100:] // 20])
    found, plain, without = (
        evaluate(stored, replace(split, signals=x), PROTOCOLS["whole"], n_bootstrap=0)
        for stored, x in ((model, halves), (model, split.signals), (make_checkpoint(), halves))
    )
    assert found.unlike.n_records >= 100 > 10 > plain.unlike.n_records
    assert found.summary()["n_unlike_training"] == found.unlike.n_records
    assert " %); about 1 % are usual. `ecgmtl predict` makes no decision on such records. Most" in as_text(found, None)
    assert without.unlike is None
    assert "unlike" not in as_text(without, None)


def test_one_record_unlike_the_training_records_is_singular(evaluation):
    text = as_text(replace(evaluation, unlike=Unlike(1, "size")), None)
    assert (
        "1 of 40 (2.5 %); about 1 % are usual. `ecgmtl predict` makes no decision on such records. It is unusu" in text
    )


def test_a_record_shorter_than_a_window_is_one_window():
    assert PROTOCOLS["helme"].windows(torch.randn(2, 12, 200), FS).shape == (2, 1, 12, 200)


def test_an_unknown_protocol_is_rejected_with_a_list_of_protocols():
    with pytest.raises(ProtocolError, match="no protocol 'helm'; choose one of whole, helme, fm-bench"):
        find_protocol("helm")


def test_headline_figures_are_those_of_the_calibrated_probabilities(evaluation):
    answers = evaluation.classification.answers
    value = evaluation.classification.headline["macro_auroc"].value
    assert value == pytest.approx(macro_auroc(answers.probabilities, answers.truth), abs=1e-12)
    with torch.inference_mode():
        logits = make_checkpoint().model.classify(make_split().signals / 1000)
    np.testing.assert_allclose(answers.logits, logits.numpy(), atol=1e-5)


def test_calibration_and_thresholds_are_applied():
    calibration = Calibration(slope=(2.0, 1.0, 1.0), intercept=(0.5, 0.0, -9.0), thresholds=(0.1, 1.0, 0.5))
    found = evaluate(make_checkpoint(calibration=calibration), make_split(), PROTOCOLS["whole"], n_bootstrap=0)
    answers = found.classification.answers
    np.testing.assert_allclose(answers.probabilities[:, 0], 1 / (1 + np.exp(-2 * answers.logits[:, 0] - 0.5)))
    assert not answers.predicted[:, 1:].any()


def test_the_records_of_the_calibration_are_evaluated_by_cross_fitting(evaluation):
    found = evaluate(make_checkpoint(), make_split(), PROTOCOLS["whole"], n_bootstrap=50, cross_fitted=True)
    plain, crossed = evaluation.classification, found.classification
    decisions = cross_fit(crossed.answers.logits, crossed.answers.truth, crossed.answers.patients)
    np.testing.assert_array_equal(crossed.answers.predicted, decisions.predicted)
    assert crossed.headline["macro_auroc"] == plain.headline["macro_auroc"]
    expected = brier(decisions.probabilities, crossed.answers.truth).mean()
    assert crossed.headline["brier"].value == pytest.approx(expected) != plain.headline["brier"].value
    assert "each fifth of the patients is evaluated" in render(crossed, None, None).replace("\n", " ")
    assert "are optimistic on that split" in render(plain, None, None)


def test_a_label_without_positives_is_named_and_left_out(evaluation):
    report = evaluation.classification
    assert report.undefined == ("RARE",)
    assert np.isnan(report.labels.loc["RARE", "auroc"])
    defined = report.labels.loc[["NORM", "MI"], "auroc"]
    assert report.headline["macro_auroc"].value == pytest.approx(defined.mean())
    assert "RARE (1 of 3 labels" in as_text(evaluation, None)


def test_intervals_contain_their_value(evaluation):
    for name in ("macro_auroc", "macro_auroc_frequent", "macro_auprc"):
        value, low, high = evaluation.classification.headline[name]
        assert low <= value <= high


def test_the_batch_size_changes_nothing(evaluation):
    again = evaluate(make_checkpoint(), make_split(), PROTOCOLS["whole"], n_bootstrap=50, batch_size=7)
    for name, value in evaluation.summary().items():
        assert again.summary()[name] == pytest.approx(value, rel=1e-5), name


def test_reconstruction_figures_are_those_of_the_masked_samples():
    model, split, masking = make_checkpoint().model, make_split(6), MaskingSettings()
    found = report_reconstruction(model, split, masking, seed=5)
    signals, reconstructed, mask = reconstruct(model, split, torch.arange(6), masking, seed=5)
    errors = (reconstructed.double() - signals)[:, BASIS_INDEX][mask]
    assert found.overall.rmse_mv == pytest.approx(float(errors.square().mean().sqrt()), rel=1e-6)
    assert found.overall.n_samples == int(mask.sum())
    first = (reconstructed.double() - signals)[:, 2][extend_mask(mask)[:, 2]]
    assert found.by_lead.loc["III", "mae_mv"] == pytest.approx(float(first.abs().mean()), rel=1e-6)
    normal = (reconstructed.double() - signals)[3:, BASIS_INDEX][mask[3:]]
    assert found.by_group.loc["NORM", "rmse_mv"] == pytest.approx(float(normal.square().mean().sqrt()), rel=1e-6)


def test_masked_samples_never_reach_the_reconstruction():
    model, split, masking = make_checkpoint().model, make_split(4), MaskingSettings()
    _, reconstructed, mask = reconstruct(model, split, torch.arange(4), masking, seed=0)
    split.signals[extend_mask(mask)] = 30_000
    torch.testing.assert_close(reconstruct(model, split, torch.arange(4), masking, seed=0)[1], reconstructed)


def test_the_mask_of_a_record_does_not_depend_on_the_others():
    model, split, masking = make_checkpoint().model, make_split(5), MaskingSettings()
    _, _, mask = reconstruct(model, split, torch.arange(5), masking, seed=0)
    kept = split.select(np.array([False, False, True, False, True]))
    torch.testing.assert_close(reconstruct(model, kept, torch.arange(2), masking, seed=0)[2], mask[[2, 4]])


def test_the_plotted_record_has_the_median_error():
    found = report_reconstruction(make_checkpoint().model, make_split(7), MaskingSettings())
    assert found.typical.name in make_split(7).names
    errors = []
    for row in range(7):
        one = make_split(7).select(np.arange(7) == row)
        errors.append(report_reconstruction(make_checkpoint().model, one, MaskingSettings()).overall.rmse_mv)
    assert found.typical.name == make_split(7).names[int(np.argsort(errors)[3])]


def test_only_tasks_that_were_trained_are_reported():
    pretrained = evaluate(make_checkpoint("pretrain"), make_split(8), PROTOCOLS["whole"])
    assert pretrained.classification is None
    assert pretrained.reconstruction is not None
    stages = tuple(s.model_copy(update={"losses": ("classification",)}) for s in CONFIG.stages[1:])
    alone = Checkpoint(
        make_checkpoint().model, CONFIG.model_copy(update={"stages": stages}), "test", LABELS, Calibration.identity(3)
    )
    assert evaluate(alone, make_split(8), PROTOCOLS["whole"], n_bootstrap=0).reconstruction is None


def test_the_helme_protocol_drops_records_without_a_label():
    found = evaluate(make_checkpoint(), make_split(), PROTOCOLS["helme"], n_bootstrap=0)
    assert len(found.names) == 30
    assert found.names[0] == "records100/00010_lr"


def test_a_split_without_records_is_rejected():
    split = make_split(4)
    split.labels.zero_()
    with pytest.raises(EvaluationError, match="no record with a label of the set; protocol 'whole' keeps"):
        evaluate(make_checkpoint(), split, PROTOCOLS["helme"])


def test_labels_that_differ_from_the_models_are_rejected():
    checkpoint = make_checkpoint()
    other = Checkpoint(checkpoint.model, CONFIG, "test", ("A", "B", "C"), checkpoint.calibration)
    with pytest.raises(EvaluationError, match="the model reads A, B, C; the data has NORM, MI, RARE"):
        evaluate(other, make_split(4), PROTOCOLS["whole"])


def test_output_that_is_not_finite_is_rejected_by_name():
    checkpoint = make_checkpoint()
    with torch.no_grad():
        checkpoint.model.heads["classification"].read.bias.fill_(torch.nan)
    with pytest.raises(EvaluationError, match="4 of 4 records is not a number, the first is records100/00000_lr"):
        evaluate(checkpoint, make_split(4), PROTOCOLS["whole"])


def test_evaluation_does_not_change_the_checkpoint():
    checkpoint = make_checkpoint()
    checkpoint.model.train()
    before = checkpoints.tensors_sha256(checkpoint.model.state_dict())
    evaluate(checkpoint, make_split(4), PROTOCOLS["whole"], n_bootstrap=0)
    assert checkpoint.model.training
    assert checkpoints.tensors_sha256(checkpoint.model.state_dict()) == before


def test_progress_is_reported_to_the_end():
    calls = []
    evaluate(
        make_checkpoint(), make_split(8), PROTOCOLS["whole"], n_bootstrap=20, progress=lambda *at: calls.append(at)
    )
    done, totals = zip(*calls, strict=True)
    assert list(done) == sorted(done)
    assert set(totals) == {8 + 8 + 20}
    assert done[-1] == 36


def test_the_report_is_written_whole(evaluation, tmp_path):
    paths = write_evaluation(evaluation, tmp_path / "new" / "folder", "a model")
    names = {path.name for path in paths}
    assert names == {
        "metrics.json",
        "report.md",
        "per_label.csv",
        "reconstruction.csv",
        "probabilities.npz",
        "roc_pr.png",
        "reliability.png",
        "reconstruction.png",
    }
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == names
    assert all(path.stat().st_size > 100 for path in paths)


def test_files_of_an_earlier_report_are_removed_and_all_others_are_kept(evaluation, tmp_path):
    """A table of leads or of a stress test would seem to belong to the new report."""
    for name in ("given_leads.csv", "stress.csv"):
        (tmp_path / name).write_text("no report is beside it")
    write_evaluation(evaluation, tmp_path)
    assert (tmp_path / "stress.csv").exists()
    (tmp_path / "mine.csv").touch()
    written = {path.name for path in write_evaluation(evaluation, tmp_path)}
    assert {path.name for path in tmp_path.iterdir()} == written | {"mine.csv"}


def test_the_json_is_strict_with_null_for_undefined_figures(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    tree = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert tree["classification"]["labels"]["RARE"]["auroc"] is None
    headline = tree["classification"]["headline"]["macro_auroc"]
    assert headline["low"] <= headline["value"] <= headline["high"]
    assert set(tree["classification"]["headline"]["f1"]) == {"value"}
    assert tree["reconstruction"]["by_lead"]["V6"]["rmse_mv"] > 0
    assert tree["protocol"]["name"] == "whole"


def test_the_table_has_a_row_per_label(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path)
    with (tmp_path / "per_label.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == list(LABELS)
    assert int(rows[0]["n_positive"]) == 20
    assert rows[2]["auroc"] == ""


def test_probabilities_are_kept_for_paired_tests(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path)
    with np.load(tmp_path / "probabilities.npz") as kept:  # no pickles in it
        np.testing.assert_array_equal(kept["probabilities"], evaluation.classification.answers.probabilities)
        assert tuple(kept["names"]) == evaluation.names
        assert tuple(kept["label_names"]) == LABELS


def test_the_summary_is_flat_finite_and_named_for_mlflow(evaluation):
    summary = evaluation.summary()
    assert all(math.isfinite(value) and isinstance(value, float) for value in summary.values())
    assert {"macro_auroc", "macro_auroc_low", "macro_auroc_high", "one_error", "reconstruction_rmse_mv"} <= set(summary)
    assert all(name.replace("_", "").isalnum() for name in summary)


def test_tables_of_the_text_are_aligned(evaluation):
    lines = as_text(evaluation, 30).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len({len(line) for line in tables if line.startswith(("| macro", "| figure"))}) == 1
    assert "40 records of 20 patients" in lines[0]
    assert not any("NORM  " in line and "AUROC" in line for line in as_text(evaluation, 2).splitlines())


def test_an_unknown_split_is_rejected(tmp_path):
    with pytest.raises(EvaluationError, match="no split 'val'; choose one of train, validation, test"):
        evaluate_file(tmp_path / "model.safetensors", tmp_path, "val", "whole")
