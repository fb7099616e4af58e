from typing import get_args

import pytest
import torch

from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.sharing import SharingSettings
from ecgmtl.model.sharing.cross_stitch import CrossStitchSettings, Stitch
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.model.sharing.soft import SoftSettings
from tests.trainings import CNN, ENCODERS

KINDS = (
    HardSettings(),
    SoftSettings(),
    CrossStitchSettings(),
    MultiLevelSettings(levels={"reconstruction": 2, "classification_rhythm": 1}),
)
TASKS = ("reconstruction", "latent", "classification", "classification_rhythm")
TRUNKS = {task: "classification" if task.startswith("classification") else "reconstruction" for task in TASKS}
SETS = (("reconstruction", "classification"), ("classification", "classification_rhythm"), TASKS, TASKS[:1])

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
every_encoder = pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
every_set = pytest.mark.parametrize("tasks", SETS, ids=len)


def rows():
    return torch.randn(3, 20, 120)


def gradients(sharing, tasks):
    """By task, the gradient of a loss on its features by every parameter; None for those it does not depend on."""
    parameters = list(sharing.parameters())
    found = {}
    for task, features in sharing(rows(), tasks).items():
        loss = (features * torch.randn_like(features)).sum()
        found[task] = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return found


def test_every_kind_is_tested():
    assert {type(kind) for kind in KINDS} == set(get_args(get_args(SharingSettings)[0]))


@every_kind
@every_encoder
def test_features_have_the_stated_width_and_stride(kind, encoder):
    sharing = kind.build(encoder, 20, TRUNKS)
    for task, features in sharing(rows(), TASKS).items():
        assert features.shape == (3, sharing.n_features(task), -(-120 // sharing.stride(task)))


@every_kind
@every_encoder
@every_set
def test_shared_parameters_get_gradients_from_two_tasks(kind, encoder, tasks):
    sharing = kind.build(encoder, 20, TRUNKS)
    meeting = [
        sum(g is not None for g in column) > 1 for column in zip(*gradients(sharing, tasks).values(), strict=True)
    ]
    expected = [parameter for parameter, meets in zip(sharing.parameters(), meeting, strict=True) if meets]
    assert list(map(id, sharing.shared(tasks))) == list(map(id, expected))


@every_kind
@every_encoder
@every_set
def test_last_shared_is_the_highest_weight_of_all_tasks(kind, encoder, tasks):
    sharing = kind.build(encoder, 20, TRUNKS)
    by_all = {
        id(parameter): all(g is not None for g in column) and all(g.any() for g in column)
        for parameter, column in zip(
            sharing.parameters(), zip(*gradients(sharing, tasks).values(), strict=True), strict=True
        )
    }
    heights = [any(by_all[id(p)] for p in layer if p.dim() > 1) for layer in sharing.layers()]
    last = {id(parameter) for parameter in sharing.last_shared(tasks)}
    assert all(by_all[parameter] for parameter in last)
    top = max((height for height, found in enumerate(heights) if found), default=None)
    assert last <= {id(parameter) for parameter in sharing.layers()[top or 0]}
    assert bool(last) == any(heights)


@every_kind
@every_encoder
@pytest.mark.parametrize("task", TASKS)
def test_for_task_holds_only_what_the_task_depends_on(kind, encoder, task):
    sharing = kind.build(encoder, 20, TRUNKS)
    needed = [g is not None for g in gradients(sharing, (task,))[task]]
    expected = {id(p) for p, need in zip(sharing.parameters(), needed, strict=True) if need}
    kept, signals = sharing.for_task(task), rows()
    assert {id(parameter) for parameter in kept.parameters()} == expected
    sharing.eval()
    assert torch.equal(kept(signals), sharing(signals, TASKS)[task])


@every_kind
@every_encoder
def test_the_layers_hold_every_parameter_once(kind, encoder):
    sharing = kind.build(encoder, 20, TRUNKS)
    listed = [id(parameter) for layer in sharing.layers() for parameter in layer]
    assert sorted(listed) == sorted(map(id, sharing.parameters()))
    assert all(sharing.layers())


@every_kind
def test_weights_are_stored_once_and_load_into_a_fresh_network(kind):
    sharing, fresh = kind.build(CNN, 20, TRUNKS).eval(), kind.build(CNN, 20, TRUNKS).eval()
    state = sharing.state_dict()
    assert len({value.data_ptr() for value in state.values() if value.numel()}) == len(state)
    fresh.load_state_dict(state)
    signals = rows()
    for task, features in sharing(signals, TASKS).items():
        assert torch.equal(fresh(signals, TASKS)[task], features)


@pytest.mark.parametrize("task", ["reconstruction", "classification"])
def test_soft_sharing_does_not_run_the_other_encoder(task):
    sharing = SoftSettings().build(CNN, 20, TRUNKS)
    other = sharing.classification if task == "reconstruction" else sharing.reconstruction
    for parameter in other.parameters():
        torch.nn.init.constant_(parameter, torch.nan)
    assert sharing(rows(), (task,))[task].isfinite().all()
    assert not other.stem[1].num_batches_tracked


def test_the_penalty_is_the_mean_of_mean_squared_differences():
    sharing = SoftSettings(gamma=3.0).build(CnnSettings(widths=(4,)), 20, TRUNKS)
    assert sharing.penalty() == 0
    with torch.no_grad():
        weight, _, shift = sharing.classification.parameters()
        weight += 0.5
        shift[0] += 2.0
    # three tensors: (0.5^2 + 0 + 2^2 / 4) / 3, times 3
    assert sharing.penalty().item() == pytest.approx(1.25)
    sharing.penalty().backward()
    # 3 / 3 tensors * 2 * 0.5 / number of elements, and against each other
    torch.testing.assert_close(weight.grad, torch.full_like(weight, 1.0 / weight.numel()))
    assert torch.equal(sharing.reconstruction.stem[0].weight.grad, -weight.grad)


def test_without_gamma_there_is_no_penalty():
    assert SoftSettings(gamma=0).build(CNN, 20, TRUNKS).penalty() is None
    assert all(kind.build(CNN, 20, TRUNKS).penalty() is None for kind in KINDS if kind.kind != "soft")


@pytest.mark.parametrize("kind", [SoftSettings(), CrossStitchSettings()], ids=["soft", "cross_stitch"])
@every_encoder
def test_two_encoders_start_with_equal_weights(kind, encoder):
    torch.manual_seed(0)
    one = encoder.build(20).eval()
    torch.manual_seed(0)
    sharing, signals = kind.build(encoder, 20, TRUNKS).eval(), rows()
    for features in sharing(signals, TASKS).values():
        torch.testing.assert_close(features, one(signals))  # 0.9 of a feature and 0.1 of its like are the feature


def test_a_cross_stitch_unit_mixes_each_feature_by_its_own_factors():
    stitch = Stitch(2, 0.9, "classification")
    with torch.no_grad():
        stitch.own[1], stitch.other[1] = 0.5, -1.0
    one, two = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[10.0], [20.0]]])
    # 0.9 * 10 + 0.1 * 1 and 0.5 * 20 - 1 * 2: the second encoder is the classifiers' own
    torch.testing.assert_close(stitch(one, two), torch.tensor([[[9.1], [8.0]]]))


def test_cross_stitch_without_mixing_equals_two_encoders():
    sharing = CrossStitchSettings(own=1.0).build(CNN, 20, TRUNKS).eval()
    torch.nn.init.normal_(sharing.columns.classification.stem[0].weight)
    signals = rows()
    features = sharing(signals, ("reconstruction", "classification"))
    assert torch.equal(features["reconstruction"], sharing.columns.reconstruction(signals))
    assert torch.equal(features["classification"], sharing.columns.classification(signals))


def test_heads_read_the_levels_that_are_set():
    sharing = MultiLevelSettings(levels={"reconstruction": 2, "classification_rhythm": 1}).build(CNN, 20, TRUNKS).eval()
    signals = rows()
    low, middle, top = sharing.trunk.levels(signals)
    features = sharing(signals, TASKS)
    assert torch.equal(features["reconstruction"], middle)
    assert torch.equal(features["latent"], top)
    assert torch.equal(features["classification"], top)
    assert torch.equal(features["classification_rhythm"], low)


def test_layers_above_the_highest_level_do_not_run():
    sharing = MultiLevelSettings(levels={"reconstruction": 2}).build(CNN, 20, TRUNKS)
    torch.nn.init.constant_(sharing.trunk.blocks[1].first.weight, torch.nan)
    assert sharing(rows(), ("reconstruction",))["reconstruction"].isfinite().all()
    assert not sharing.trunk.blocks[1].first_norm.num_batches_tracked


def test_a_level_above_the_top_is_refused():
    with pytest.raises(ValueError, match="reconstruction cannot read level 4: the encoder has 3; choose 1 to 3"):
        MultiLevelSettings(levels={"reconstruction": 4}).build(CNN, 20, TRUNKS)


@pytest.mark.parametrize("task", ["recon", "consistency", "auxiliary_classification"])
def test_a_task_without_a_head_reads_no_level(task):
    with pytest.raises(ValueError, match=f"{task} reads no features of its own"):
        MultiLevelSettings(levels={task: 1}).check(TRUNKS)
