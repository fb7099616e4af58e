"""Records that a run is trained on, and the numbering of its steps in the tracker's parent run."""

from dataclasses import replace

import numpy as np
import pytest

from ecgmtl.config.run import parse_config
from ecgmtl.tracking.tracker import NoTracker
from ecgmtl.training.folder import RunFolder
from ecgmtl.training.record import SILENT
from ecgmtl.training.sample_key import SampleKey
from ecgmtl.training.schedule import Schedule

LABELS = {"trains": ["encoder", "classifier"], "losses": ["classification"], "epochs": 2, "batch_size": 8}
STAGES = [
    {"name": "first", **LABELS, "augment": {"crop_seconds": 1.0}},
    {"name": "second", **LABELS, "epochs": 1, "batch_size": 6, "augment": {"crop_seconds": 1.0}},
    {"name": "third", **LABELS, "augment": {"crop_seconds": 1.0}},
]


class Recorder(NoTracker):
    """A tracker that records the steps of the parent run at which it was called."""

    def __init__(self):
        self.steps, self.validated = [], []

    def log_steps(self, rows, first_step, parent_offset=None):
        n_steps = len(next(iter(rows.values())))
        self.steps += [parent_offset + first_step + step for step in range(n_steps)]

    def log_metrics(self, metrics, step, parent_offset=None):
        self.validated += [parent_offset + step for name in metrics if name == "validation/macro_auroc"]


def schedule(store, path, tracker=None, **settings):
    tree = {"encoder": {"kind": "cnn", "widths": [8, 8]}, "stages": STAGES, "precision": "fp32", **settings}
    folder = RunFolder.create(path, parse_config(tree, "test"), store.path)
    return Schedule.prepare(store, folder, tracker or NoTracker(), SILENT)


@pytest.fixture(scope="module")
def partly_labeled(few_prepared):
    """The prepared ECGs, of which the first three training records and a validation record have no label."""
    records = few_prepared.records.copy()
    label_set = few_prepared.default_labels
    for split, count in (("train", 3), ("validation", 1)):
        records.loc[records.index[records["split"] == split][:count], label_set] = ""
    return replace(few_prepared, records=records)


def test_dropping_unlabeled_records_affects_the_training_split_only(partly_labeled, tmp_path):
    kept, dropped = (
        schedule(partly_labeled, tmp_path / unlabeled, unlabeled=unlabeled) for unlabeled in ("keep", "drop")
    )
    unlabeled_names = {
        name for name, labels in zip(kept.train.names, kept.train.labels, strict=True) if not labels.any()
    }
    assert len(unlabeled_names) >= 3
    assert set(kept.train.names) - set(dropped.train.names) == unlabeled_names
    assert len(dropped.train) == len(kept.train) - len(unlabeled_names) == len(dropped.train.labels)
    assert dropped.train.labels.any(dim=1).all()
    assert dropped.validation.names == kept.validation.names


def test_label_share_keeps_the_labels_of_that_fraction_of_patients_and_all_records(few_prepared, tmp_path):
    whole, half, again, other = (
        schedule(few_prepared, tmp_path / f"{number}", label_share=share, seed=seed)
        for number, (share, seed) in enumerate([(1.0, 0), (0.5, 0), (0.5, 0), (0.5, 1)])
    )
    train = half.train
    n_patients = len(np.unique(train.patients))
    labeled, unlabeled = set(train.patients[train.labeled]), set(train.patients[~train.labeled])
    assert (len(labeled), labeled & unlabeled) == (round(0.5 * n_patients), set())
    assert whole.train.labeled.all()
    assert train.names == whole.train.names
    assert half.validation.labeled.all()
    np.testing.assert_array_equal(train.labeled, again.train.labeled)
    assert (train.labeled != other.train.labeled).any()


def test_validation_share_validates_on_patients_of_the_training_split_alone(few_prepared, tmp_path):
    whole, held_out, again, other = (
        schedule(few_prepared, tmp_path / f"{number}", validation_share=share, seed=seed)
        for number, (share, seed) in enumerate([(None, 0), (0.2, 0), (0.2, 0), (0.2, 1)])
    )
    train, validation = held_out.train, held_out.validation
    assert {*train.names, *validation.names} == set(whole.train.names)
    assert not set(train.patients) & set(validation.patients)
    assert len(set(validation.patients)) == round(0.2 * len(set(whole.train.patients)))
    assert validation.names == again.validation.names != other.validation.names


def test_patients_that_reward_a_weighting_are_sampled_independently_of_those_validated_on(few_prepared, tmp_path):
    train = schedule(few_prepared, tmp_path / "run").train
    validated, rewarding = (train.sample_patients(0.2, (0, key)) for key in (SampleKey.VALIDATION, SampleKey.REWARD))
    assert (validated != rewarding).any()


def test_steps_of_the_parent_run_are_contiguous_over_trained_and_loaded_stages(few_prepared, tmp_path):
    trained, resumed = Recorder(), Recorder()
    run = schedule(few_prepared, tmp_path / "runs/run", trained)
    n_train = len(run.train)
    per_epoch = [n_train // 8, n_train // 6, n_train // 8]
    n_steps = 2 * per_epoch[0] + per_epoch[1] + 2 * per_epoch[2]
    run.train_stages(run.config.stages)
    assert trained.steps == list(range(n_steps))
    ends = np.cumsum([per_epoch[0]] * 2 + [per_epoch[1]] + [per_epoch[2]] * 2)
    assert trained.validated == list(ends - 1)
    for stage in run.record.folder.path.glob("stages/2-third/*"):
        stage.unlink()
    again = replace(run, record=replace(run.record, tracker=resumed))
    again.train_stages(again.config.stages)
    assert resumed.steps == list(range(n_steps - 2 * per_epoch[2], n_steps))


def test_the_tracker_gets_the_data_tags_parameters_and_note_of_a_run(few_prepared, tmp_path):
    class Facts(Recorder):
        def run(self, name, **arguments):
            self.name, self.arguments = name, arguments
            return super().run()

        def log_input(self, name, digest, source, n_records):
            self.data = (name, digest, source, n_records)

    facts = Facts()
    run = schedule(few_prepared, tmp_path / "runs/some", facts, seed=3)
    with run.record.open(run.config.stages[:2]):
        pass
    counts = {"train": len(run.train), "validation": len(run.validation)}
    assert facts.data == (few_prepared.path.name, few_prepared.sha256, str(few_prepared.path), counts)
    assert counts["train"] > 2 * counts["validation"] > 0
    tags = facts.arguments["tags"]
    assert facts.name == "some"
    assert {name: tags[name] for name in ("seed", "encoder", "labels", "data_sha256", "stages")} == {
        "seed": "3",
        "encoder": "cnn",
        "labels": few_prepared.default_labels,
        "data_sha256": few_prepared.sha256,
        "stages": "first second",
    }
    assert facts.arguments["params"] == run.config.model_dump(mode="json")
    note = facts.arguments["note"]
    assert f"{counts['train']} training records" in note
    assert f"validated on {counts['validation']} records" in note
    assert f"2. `second`: {run.config.stages[1].summary}" in note
