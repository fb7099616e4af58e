import pytest
import torch

from ecgmtl.data.batch import Batch
from ecgmtl.tasks import LossInput, TaskSettings, build_task
from ecgmtl.tasks.latent import LatentSettings
from tests.losses import batch_of, cost

TARGET = torch.tensor([[[1.0, 5.0, 2.0, 0.0], [3.0, 5.5, 0.0, 9.0]]])
"""Two features of four frames. Normalized over its features, a frame is (-1, 1), except the third: (1, -1)."""
PREDICTED = torch.tensor([[[-1.0, 1.0, 1.0, 50.0], [3.0, 1.0, 3.0, 50.0]]])
ERRORS = (2.0, 2.0, 8.0)
"""Mean squared differences of the first three frames: (0 + 4) / 2, (4 + 0) / 2, (0 + 16) / 2."""


def latent(scored, predicted=PREDICTED, target=TARGET):
    n_samples = scored.shape[-1]
    batch = Batch(torch.zeros(1, 12, n_samples), torch.zeros(1, 2), scored=scored, teacher_features=target)
    return build_task("latent").loss(LossInput(None, {"latent": predicted}, batch, 0.0)).item()


def test_a_frame_is_weighted_by_its_fraction_of_scored_samples():
    scored = torch.zeros(1, 8, 8)  # two samples a frame
    scored[:, :, :2] = 1.0  # the whole first frame
    scored[:, :, 3] = 1.0  # half of the samples of the second
    scored[:, :2, 4:6] = 1.0  # two of eight leads of the third
    expected = (1.0 * ERRORS[0] + 0.5 * ERRORS[1] + 0.25 * ERRORS[2]) / 1.75
    assert latent(scored) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_less_than_one_scored_frame_is_scaled_by_its_fraction():
    scored = torch.zeros(1, 8, 8)
    scored[:, :2, 4:6] = 1.0
    assert latent(scored) == pytest.approx(0.25 * ERRORS[2], rel=1e-4)
    assert latent(torch.zeros(1, 8, 8)) == 0


def test_the_latent_loss_accepts_a_single_frame():
    one = latent(torch.ones(1, 8, 3), PREDICTED[..., :1], TARGET[..., :1])
    assert one == pytest.approx(ERRORS[0], rel=1e-4)


def test_the_latent_loss_compares_normalized_features_of_masked_frames(model):
    target = torch.tensor([[[1.0, 5.0], [3.0, 5.5]]])  # two features, two frames; the first frame normalized: -1, 1
    scored = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]).expand(1, 8, 4)  # the first frame's two samples
    batch = batch_of(torch.zeros(1, 12, 4), scored)._replace(teacher_features=target)
    found = cost("latent", model, {"latent": torch.tensor([[[-1.0, 9.0], [3.0, 9.0]]])}, batch)
    assert found == pytest.approx((0 + 4) / 2, rel=1e-4)  # the second frame does not count


def test_a_smooth_latent_loss_is_linear_in_large_errors(model):
    target = torch.tensor([[[1.0], [3.0]]])  # one frame of two features; normalized: -1, 1
    batch = batch_of(torch.zeros(1, 12, 2), torch.ones(1, 8, 2))._replace(teacher_features=target)
    inputs = LossInput(model, {"latent": torch.tensor([[[-0.5], [5.0]]])}, batch, 1.0)
    found = build_task("latent", TaskSettings(latent=LatentSettings(kind="smooth_l1"))).loss(inputs)
    assert found.item() == pytest.approx((0.5 * 0.5**2 + (4 - 0.5)) / 2, rel=1e-4)
