import pytest
import torch
import torch.nn.functional as F

from ecgmtl.model.encoders.s4d import S4dBlock, S4dSettings

SETTINGS = S4dSettings(stem=(6,), depth=2, state=4)


def test_a_block_is_a_state_space_then_a_gated_mixture():
    block, features = S4dBlock(6, 2, SETTINGS, is_last=False).eval(), torch.randn(3, 6, 40)
    inner = F.gelu(block.space(F.batch_norm(features, torch.zeros(6), torch.ones(6))))
    value, gate = F.conv1d(inner, block.mix.weight, block.mix.bias).split(6, dim=1)
    torch.testing.assert_close(block(features), features + value * gate.sigmoid())


def test_longer_frames_have_longer_steps():
    blocks = (S4dBlock(2000, stride, SETTINGS, is_last=False) for stride in (1, 4))
    short, long = (block.space.log_step.exp() for block in blocks)
    assert (short.min().item(), short.max().item()) == pytest.approx((0.001, 0.1), rel=0.05)
    assert (long.min().item(), long.max().item()) == pytest.approx((0.004, 0.4), rel=0.05)


def test_dynamics_are_the_parameters_of_time_scales():
    encoder = SETTINGS.build(20)
    names = {name for name, p in encoder.named_parameters() if any(p is slow for slow in encoder.dynamics())}
    ends = ("log_step", "log_damping", "frequency")
    assert names == {f"blocks.{block}.space.{end}" for block in (0, 1) for end in ends}


def test_every_frame_depends_on_every_sample():
    encoder, rows = SETTINGS.build(20).eval(), torch.randn(1, 20, 400, requires_grad=True)
    encoder(rows)[0, :, 100].sum().backward()
    assert rows.grad.abs().amax(dim=1).min() > 0
