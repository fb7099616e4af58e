import json
from pathlib import Path

import pytest

from ecgmtl.inference.torch_predictors import copy_model
from ecgmtl.tracking.models import require_model_name
from ecgmtl.tracking.store import default_store
from ecgmtl.tracking.tracker import TrackingError, open_tracker
from tests.tracked import NOTHING, log_classifier, logged_model


def test_a_logged_model_has_a_description_and_facts(store, model):
    logged = logged_model(store, log_classifier(open_tracker("ecgmtl"), model))
    assert (logged.name, logged.status) == ("classifier", "READY")
    assert logged.tags["mlflow.note.content"] == "It predicts **labels**."
    assert logged.params == {"labels": "NORM, MI", "sampling_rate_hz": "100"}


def test_a_registered_model_has_the_alias_and_a_description(store, model):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING) as run_id:
        tracker.log_model(model, "classifier", "It predicts **labels**.", {})
        assert tracker.register_model("ecg-classifier") == "models:/ecg-classifier@champion"
    version = store.get_model_version_by_alias("ecg-classifier", "champion")
    assert (str(version.version), version.run_id) == ("1", run_id)
    assert version.description == "It predicts **labels**."
    versions = json.loads(logged_model(store, run_id).tags["mlflow.modelVersions"])
    assert [str(entry["version"]) for entry in versions if entry["name"] == "ecg-classifier"] == ["1"]
    assert "12-lead ECGs" in store.get_registered_model("ecg-classifier").description
    with default_store():
        assert Path(copy_model("models:/ecg-classifier@champion", Path("copy")), "MLmodel").is_file()


def test_the_alias_moves_to_a_new_model_and_no_model_is_registered_twice(store, model):
    ids = [log_classifier(open_tracker("ecgmtl"), model) for _ in range(2)]
    champions = []
    for run_id in (*ids, ids[0]):
        tracker = open_tracker("ecgmtl")
        with tracker.run("quick", **NOTHING, resume=run_id):
            tracker.register_model("ecg-classifier")
        champions.append(store.get_model_version_by_alias("ecg-classifier", "champion").run_id)
    assert champions == [*ids, ids[0]]
    assert len(store.search_model_versions("name = 'ecg-classifier'")) == 2


def test_a_run_without_a_model_registers_nothing(store):
    tracker = open_tracker("ecgmtl")
    with tracker.run("quick", **NOTHING):
        assert tracker.register_model("ecg-classifier") is None
    assert store.search_registered_models() == []


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "it's", ".", "a@b"])
def test_a_name_that_mlflow_cannot_register_is_refused(name):
    with pytest.raises(TrackingError, match=r"--register .* for example --register ecg-classifier"):
        require_model_name(name)
