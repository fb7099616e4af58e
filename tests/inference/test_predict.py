from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.readers import READERS, ReadOptions, read_record
from ecgmtl import checkpoint
from ecgmtl.export.write import export
from ecgmtl.inference.metadata import MetadataError
from ecgmtl.inference.options import PredictOptions
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.result import Failure, Prediction, fail_undecided
from ecgmtl.optimization.weighting.fixed import FixedSettings
from tests.models import predictions
from tests.wfdb_files import beats, write_wfdb


@pytest.fixture(scope="module")
def model(stored, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    checkpoint.save(path, stored)
    return path


def test_a_bad_file_is_named_and_the_others_are_predicted(model, records, tmp_path):
    (tmp_path / "bad.hea").write_text("bad 12 100 1000\n")
    good = sorted(records.glob("*.hea"))
    mixed = predictions(model, *good[:3], tmp_path / "bad.hea", *good[3:])
    assert [type(result) for result in mixed] == [Prediction] * 3 + [Failure] + [Prediction] * 3
    assert mixed[3].path.name == "bad.hea"
    for found, alone in zip([r for r in mixed if isinstance(r, Prediction)], predictions(model, *good), strict=True):
        assert found.path == alone.path
        assert list(found.calibrated.values()) == pytest.approx(list(alone.calibrated.values()), abs=1e-6)


def test_a_record_does_not_depend_on_its_batch(model, records):
    one, many = (predictions(model, records, batch_size=size) for size in (1, 6))
    for a, b in zip(one, many, strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-6)
        assert a.reconstruction_rmse == pytest.approx(b.reconstruction_rmse, abs=1e-6)


def test_probabilities_are_calibrated_and_compared_with_thresholds(model, records):
    found = predictions(model, records)[0]
    logit = np.log(found.probabilities["MI"] / (1 - found.probabilities["MI"]))
    assert found.calibrated["MI"] == pytest.approx(1 / (1 + np.exp(-(1.2 * logit + 0.1))), abs=1e-6)
    assert found.decisions == {name: p >= 0.4 for name, p in found.calibrated.items()}


def test_a_prediction_is_the_output_of_the_model_for_the_prepared_record(stored, model, records):
    found = predictions(model, records)[2]
    signal = stored.config.preprocess(read_record(records / "r2.hea")).signal
    with torch.inference_mode():
        wanted = stored.model.classify(torch.from_numpy(signal)[None]).sigmoid()[0].tolist()
    assert list(found.probabilities) == list(stored.label_names)
    assert list(found.probabilities.values()) == pytest.approx(wanted, abs=1e-6)


def test_a_missing_file_is_a_failure_among_the_others(model, records):
    results = predictions(model, records / "r0.hea", records / "none.hea", records / "r1.hea", batch_size=1)
    assert [type(result) for result in results] == [Prediction, Failure, Prediction]
    assert "none.hea: there is no such" in results[1].reason
    assert codes(results[1]) == ["unreadable"]


def test_bad_files_alone_give_failures_alone(model, tmp_path):
    for name in ("a.csv", "b.hea", "c.npz"):
        (tmp_path / name).write_bytes(b"nonsense")
    results = predictions(model, tmp_path, batch_size=2)
    assert [(result.path.name, type(result)) for result in results] == [
        (n, Failure) for n in ("a.csv", "b.hea", "c.npz")
    ]


def codes(result):
    return [finding.label for finding in result.findings]


class Buggy:
    """A predictor with a bug that one record triggers, in the steps before the model or in the model."""

    def __init__(self, sound, stage, name):
        self.sound, self.stage, self.name, self.bad = sound, stage, name, None
        self.seconds = sound.metadata.preprocess.seconds
        self.metadata = sound.metadata.model_copy(update={"preprocess": self})

    def __call__(self, record):
        prepared = self.sound.metadata.preprocess(record)
        if record.name == self.name:
            self.bad = prepared.signal
            if self.stage == "preprocess":
                raise IndexError("patient Jane Doe")
        return prepared

    def logits(self, signals):
        if self.stage == "model" and any(np.array_equal(signal, self.bad) for signal in signals):
            raise IndexError("patient Jane Doe")
        return self.sound.logits(signals)

    def reconstruction_rmse(self, signals):
        return self.sound.reconstruction_rmse(signals)


@pytest.mark.parametrize("stage", ["preprocess", "model"])
def test_a_bug_that_one_record_triggers_is_reported_and_the_others_are_predicted(predictor, model, records, stage):
    results = list(predict(Buggy(predictor, stage, "r2"), [records], PredictOptions(batch_size=4)))
    failed = results.pop(2)
    assert failed.reason.startswith("r2.hea: IndexError, a bug in ecgmtl.")
    assert codes(failed) == ["bug"]
    assert "Jane" not in failed.reason  # an error's text may quote the file
    assert "raise IndexError" in failed.traceback
    sound = [result for result in predictions(model, records) if result.path.name != "r2.hea"]
    assert [result.path for result in results] == [result.path for result in sound]
    for a, b in zip(results, sound, strict=True):
        assert list(a.probabilities.values()) == pytest.approx(list(b.probabilities.values()), abs=1e-6)


@given(content=st.binary(max_size=300), suffix=st.sampled_from(sorted(READERS)))
@settings(max_examples=60, deadline=None)
def test_no_content_of_a_file_raises(predictor, scratch, content, suffix):
    path = scratch / f"x{suffix}"
    path.write_bytes(content)
    (result,) = predict(predictor, [path], PredictOptions(ReadOptions(fs=100.0, unit="mV")))
    path.unlink()
    assert isinstance(result, Failure)
    assert "x" in result.reason
    assert codes(result) == ["unreadable"]


@pytest.fixture(scope="module")
def predictor(model):
    return load_predictor(str(model))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


def test_a_prediction_has_the_warnings_of_its_record(model, tmp_path):
    signal = beats()
    signal[:, 8] = 0.0
    write_wfdb(tmp_path, signal, name="flat")
    write_wfdb(tmp_path, name="sound")
    flat, sound = predictions(model, tmp_path)
    assert codes(flat) == ["flat-lead=V3"]
    assert sound.findings == ()


def test_one_path_may_be_given_without_a_list(predictor, records):
    for path in (records / "r0.hea", str(records / "r0.hea")):
        (result,) = predict(predictor, path)
        assert isinstance(result, Prediction)


def test_records_are_read_lazily(model, records):
    def paths():
        yield records / "r0.hea"
        yield records / "r1.hea"
        raise RuntimeError("read too far ahead")

    results = predict(load_predictor(str(model)), paths(), PredictOptions(batch_size=1))
    assert [next(results).path.name, next(results).path.name] == ["r0.hea", "r1.hea"]
    with pytest.raises(RuntimeError, match="too far"):
        next(results)


class Broken:
    """A model whose output for every second record of a batch is not finite, in its logits or in its decoder alone."""

    def __init__(self, sound, value, part):
        self.sound, self.metadata, self.value, self.part = sound, sound.metadata, value, part

    def logits(self, signals):
        found = self.sound.logits(signals).copy()
        if self.part == "logits":
            found[1::2, 2] = self.value
        return found

    def reconstruction_rmse(self, signals):
        found = self.sound.reconstruction_rmse(signals).copy()
        if self.part == "decoder":
            found[1::2] = self.value
        return found


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["logits", "decoder"])
def test_an_output_that_is_not_finite_is_a_failure_of_that_record(predictor, records, value, part):
    results = list(predict(Broken(predictor, value, part), [records], PredictOptions(batch_size=6)))
    assert [type(result) for result in results] == [Prediction, Failure] * 3
    assert [result.path.name for result in results] == [f"r{i}.hea" for i in range(6)]
    assert "r1.hea: the model's output for this record is not a finite number" in results[1].reason
    assert codes(results[1]) == ["not-finite"]
    sound = list(predict(predictor, [records], PredictOptions(batch_size=6)))
    assert results[::2] == sound[::2]


def test_the_reconstruction_error_is_larger_for_noise(model, predictor):
    signals = 0.2 * np.random.default_rng(0).standard_normal((2, 12, 1000)).astype(np.float32)
    signals[1] *= 3
    calm, wild = predictor.reconstruction_rmse(signals)
    assert wild > 2 * calm
    np.testing.assert_array_equal(predictor.reconstruction_rmse(signals), [calm, wild])  # the same samples are masked


def test_a_model_without_trained_decoder_has_no_reconstruction_error(stored, tmp_path, records):
    stage = stored.config.stages[1].model_copy(
        update={"trains": ("encoder", "classifier"), "losses": ("classification",), "weighting": FixedSettings()}
    )
    config = stored.config.model_copy(update={"stages": (stage,)})
    checkpoint.save(tmp_path / "model.safetensors", replace(stored, config=config))
    assert {result.reconstruction_rmse for result in predictions(tmp_path / "model.safetensors", records)} == {None}


def test_a_model_without_trained_classifier_is_rejected(stored, tmp_path):
    path = tmp_path / "model.safetensors"
    untrained = replace(stored, provenance=stored.provenance | {"stage": stored.config.stages[0].name})
    checkpoint.save(path, untrained)
    with pytest.raises(MetadataError, match=r"never trained to classify \(its stages: pretrain\)"):
        load_predictor(str(path))
    with pytest.raises(MetadataError, match="never trained to classify"):
        export(untrained, "onnx", tmp_path / "classifier.onnx", torch.zeros(2, 12, 1000))
    assert not (tmp_path / "classifier.onnx").exists()


@pytest.mark.parametrize(("rmse", "reason"), [(1.01, "the reconstruction error is 1.01 mV, above 1;"), (0.99, None)])
def test_a_large_reconstruction_error_rules_out_a_decision(predictor, records, monkeypatch, rmse, reason):
    monkeypatch.setattr(predictor, "reconstruction_rmse", lambda signals: np.full(len(signals), rmse))
    result = next(predict(predictor, [records / "r0.hea"]))
    assert len(result.probabilities) == len(result.calibrated) == 5
    assert len(result.decisions) == (0 if reason else 5)
    assert (result.undecided or "None").startswith(str(reason))


def test_a_record_with_a_lead_of_noise_has_probabilities_but_no_decision(predictor, tmp_path):
    signal = beats()
    signal[:, 8] = 0.3 * np.random.default_rng(0).standard_normal(len(signal))
    write_wfdb(tmp_path, signal, name="noise")
    (result,) = predict(predictor, [tmp_path])
    assert result.undecided == "lead V3 is only noise, of which the other leads explain nothing."
    assert (len(result.calibrated), result.decisions, codes(result)) == (5, {}, ["noise-lead=V3", "noise=V3"])


def test_a_record_whose_limb_leads_contradict_each_other_has_probabilities_and_no_decision(predictor, tmp_path):
    write_wfdb(tmp_path, beats()[:, [1, 0, *range(2, 12)]], name="exchanged")
    (result,) = predict(predictor, [tmp_path])
    assert result.undecided.startswith("III = II - I, aVL = I - II/2, aVF = II - I/2 violated, by up to")
    assert (len(result.calibrated), result.decisions) == (5, {})
    assert codes(result) == ["limb-leads-contradict=III,aVL,aVF"]


def test_a_record_that_quality_refuses_fails_with_the_codes_of_all_that_is_odd(predictor, tmp_path):
    signal = beats(700)
    signal[:, 7:10] = 0.0
    write_wfdb(tmp_path, signal, name="flat")
    (failure,) = predict(predictor, [tmp_path])
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("flat: leads V2, V3 and V4 are dead")
    assert codes(failure) == ["short", "flat-lead=V2,V3,V4"]


def test_strict_prediction_fails_where_no_decision_is_made(predictor, tmp_path):
    write_wfdb(tmp_path, beats()[:, [1, 0, *range(2, 12)]], name="exchanged")
    write_wfdb(tmp_path, name="sound")
    results = list(predict(predictor, [tmp_path]))
    failure, sound = map(fail_undecided, results)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("exchanged.hea: III = II - I, aVL = I - II/2, aVF = II - I/2 violated")
    assert failure.findings == results[0].findings
    assert sound is results[1]
