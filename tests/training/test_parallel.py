"""Two processes that train one network together, beside one process that trains it alone."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from typer.testing import CliRunner

from ecgmtl import checkpoint, ranks
from ecgmtl.cli import app
from ecgmtl.data.batch import Batch
from ecgmtl.model.heads import ClassifierSettings
from ecgmtl.model.normalization import SynchronizedBatchNorm, synchronize_norms
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.weighting.dwa import DwaSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.tasks import LossInput, build_task
from ecgmtl.training.errors import TrainingError
from tests import killed_rank
from tests.places import free_port
from tests.trainings import JOINT, training

PLAIN = JOINT.model_copy(update={"weighting": FixedSettings(), "epochs": 2})
STAGES = {
    "fixed": PLAIN,
    "views": PLAIN.model_copy(update={"views": {"classification": "clean"}}),
    "pcgrad": PLAIN.model_copy(update={"gradients": PcgradSettings()}),
    "gradnorm": PLAIN.model_copy(update={"weighting": GradNormSettings()}),
    "dwa": PLAIN.model_copy(update={"weighting": DwaSettings()}),
    "columns": PLAIN.model_copy(
        update={"losses": ("classification", "age", "sex"), "trains": ("encoder", "classifier", "age", "sex")}
    ),
}


def prepared(stage, **settings):
    run = training(stage, classifier=ClassifierSettings(dropout=0.0), **settings)
    if ranks.is_parallel():
        synchronize_norms(run.model)
        run.__post_init__()  # again with the synchronized norms
    return run


def trained(stage, **settings):
    """Weights, statistics and figures after two epochs."""
    run = prepared(stage, **settings)
    run.epoch = 0
    reports = [run.run_epoch()]
    run.epoch = 1
    reports.append(run.run_epoch())
    figures = [report.figures | report.as_line().figures for report in reports]
    numbers = [{k: v for k, v in each.items() if isinstance(v, float) and "second" not in k} for each in figures]
    return run.model.state_dict(), numbers


def one_rank(rank, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": Path(folder, "port").read_text()}
    torch.set_num_threads(1)
    with ranks.process_group():
        results = {name: trained(stage) for name, stage in STAGES.items()}
        results["one set of statistics"] = trained(STAGES["views"], normalization="batch")
        try:
            prepared(PLAIN.model_copy(update={"batch_size": 18}))
        except TrainingError as error:
            results["uneven"] = str(error)
        results["one"] = loss_of_one_value(ranks.rank())
        try:
            ranks.from_first(fail)
        except TrainingError as error:
            results["error"] = str(error)
    torch.save(results, f"{folder}/{rank}")


def loss_of_one_value(rank):
    """Loss of a task on a column, and its gradient, where the first process alone has a value."""
    output, target = torch.zeros(2, 1, requires_grad=True), torch.full((2, 1), torch.nan)
    if rank == 0:
        target[0] = 3.0
    batch = Batch(torch.zeros(2, 12, 8), torch.zeros(2, 2), targets={"age": target})
    loss = build_task("age").loss(LossInput(None, {"age": output}, batch, 1.0))
    (gradient,) = torch.autograd.grad(loss, output)
    return loss.item(), gradient.flatten().tolist()


def fail():
    raise TrainingError("only the first process sees this")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "port").write_text(str(free_port()))
    mp.spawn(one_rank, (str(folder),), nprocs=2)
    return [torch.load(folder / str(rank)) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STAGES, "one set of statistics"])
def test_two_processes_learn_what_one_learns(both, name):
    first, second = (rank[name] for rank in both)
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    one_set = name == "one set of statistics"
    weights, figures = trained(STAGES["views" if one_set else name], normalization="batch" if one_set else "auto")
    own = [key for key in weights if weights[key].is_floating_point()]
    together, alone = (torch.cat([state[key].flatten() for key in own]) for state in (first[0], weights))
    # Adam makes a whole step of the rounding of a gradient near 0, so that a few weights differ more than the others
    assert (together - alone).norm() < 1e-3 * alone.norm()
    assert ((together - alone).abs() > 2e-4).float().mean() < 0.01
    for ours, expected in zip(first[1], figures, strict=True):
        assert ours == pytest.approx(expected, rel=2e-2, abs=2e-3, nan_ok=True)


@pytest.mark.slow
def test_batches_that_cannot_be_shared_are_refused_by_all(both):
    for rank in both:
        assert "batches of 18 records cannot be shared by 2 processes" in rank["uneven"]


@pytest.mark.slow
def test_a_process_without_a_value_does_not_leave_the_others_waiting(both):
    (loss, gradient), (none, no_gradient) = (rank["one"] for rank in both)
    assert (loss + none) / 2 == 9.0  # the mean over processes is the loss of the one value
    assert gradient == [-12.0, 0.0]
    assert (none, no_gradient) == (0.0, [0.0, 0.0])


@pytest.mark.slow
def test_an_error_of_the_first_process_is_raised_in_all(both):
    assert [rank["error"] for rank in both] == ["only the first process sees this"] * 2


def test_without_a_group_everything_is_as_in_one_process():
    assert ranks.from_first(lambda: 3) == 3
    assert ranks.own_rows(6).tolist() == list(range(6))
    assert ranks.is_first()
    values = torch.randn(3)
    assert ranks.mean_over_ranks(values) is values


def test_a_synchronized_norm_of_one_process_is_the_batch_norm():
    norm = torch.nn.BatchNorm1d(3)
    other = SynchronizedBatchNorm(torch.nn.BatchNorm1d(3))
    features = torch.randn(5, 3, 7)
    torch.testing.assert_close(norm(features), other(features))
    torch.testing.assert_close(norm.running_var, other.running_var)


TINY = """
name: tiny
precision: fp32
encoder: {kind: cnn, widths: [4, 8]}
decoder: {width: 8}
classifier: {dropout: 0.0}
stages:
  - name: first
    trains: [encoder, decoder]
    losses: [reconstruction]
    epochs: 1
    batch_size: 16
  - name: second
    trains: [encoder, decoder, classifier]
    losses: [reconstruction, classification]
    epochs: 2
    batch_size: 16
"""


@pytest.mark.slow
def test_torchrun_trains_one_run_in_one_folder_although_a_process_is_killed(tmp_path):
    from data_prep.preprocess import Preprocess
    from data_prep.store.prepare import prepare
    from data_prep.synthetic.folder import write_ptbxl

    write_ptbxl(tmp_path / "source", 60, 0)
    prepare(tmp_path / "source", tmp_path / "store", Preprocess(), "superdiagnostic", workers=1)
    (tmp_path / "tiny.yaml").write_text(TINY)
    common = ["train", "--config", "tiny.yaml", "--data", "store", "--no-track", "--out"]
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(checkpoint.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *together, killed_rank.__file__, *common, "two/run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr
    assert done.stdout.count("model: ") == 1
    with contextlib.chdir(tmp_path):
        alone = CliRunner().invoke(app, [*common, "one/run"])
    assert alone.output.count("model: ") == 1, alone.output
    history = [json.loads(line) for line in (tmp_path / "two/run/history.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in history] == [("first", 0), ("second", 0), ("second", 1)]
    two, one = (checkpoint.read(tmp_path / each / "run/model.safetensors")[0] for each in ("two", "one"))
    own = [key for key in two if "num_batches" not in key]
    torch.testing.assert_close([two[key] for key in own], [one[key] for key in own], rtol=1e-3, atol=1e-3)
