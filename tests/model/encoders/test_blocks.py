import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecgmtl.model.encoders.blocks import (
    FrameConvolution,
    Halve,
    Position,
    ResidualBlock,
    Shortcut,
    StochasticDepth,
    Transformer,
    as_image,
)
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings


@pytest.mark.parametrize("n_frames", [1, 2, 7, 64, 125])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_halving_equals_average_pooling_bit_for_bit(n_frames, dtype):
    features = torch.randn(3, 5, n_frames).to(dtype)
    found = []
    for pool in (lambda frames: Halve()(as_image(frames)).squeeze(2), nn.AvgPool1d(2, 2, ceil_mode=True)):
        given = features.clone().requires_grad_()
        halved = pool(given)
        halved.backward(torch.randn(halved.shape, generator=torch.Generator().manual_seed(1)).to(dtype))
        found.append((halved, given.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel_size", "stride"), [(7, 2), (3, 1), (1, 1)])
def test_channels_last_convolution_equals_conv1d(kernel_size, stride, bias):
    settings = {"stride": stride, "padding": kernel_size // 2, "bias": bias}
    ours, theirs = FrameConvolution(5, 4, kernel_size, **settings), nn.Conv1d(5, 4, kernel_size, **settings)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for module in (ours, theirs):
        features = torch.randn(3, 5, 41, generator=torch.Generator().manual_seed(0)).requires_grad_()
        given = module(features)
        given.square().sum().backward()
        found.append([given, features.grad, *(p.grad for p in module.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_stacked_blocks_copy_no_features():
    features = ResidualBlock(3, 4, 5, stride=2)(torch.randn(2, 3, 9))
    assert as_image(features).data_ptr() == features.data_ptr()


def test_a_last_frame_without_neighbor_is_kept():
    assert Halve()(torch.tensor([[[[1.0, 3.0, 7.0]]]])).tolist() == [[[[2.0, 7.0]]]]


def test_a_shortcut_with_another_stride_is_refused():
    assert Shortcut(3, 4, 1)(torch.randn(2, 3, 1, 9)).shape == (2, 4, 1, 9)
    assert Shortcut(3, 4, 2)(torch.randn(2, 3, 1, 9)).shape == (2, 4, 1, 5)
    with pytest.raises(KeyError):
        Shortcut(3, 4, 3)


def test_stochastic_depth_keeps_the_expectation():
    inner = torch.ones(4000, 2, 3)
    kept = StochasticDepth(0.25)(inner)[:, 0, 0]
    assert set(kept.tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert abs(kept.mean().item() - 1) < 0.05


def test_stochastic_depth_skips_whole_records():
    kept = StochasticDepth(0.5)(torch.ones(64, 2, 3)).flatten(1)
    assert torch.equal(kept.amin(dim=1), kept.amax(dim=1))


def test_a_residual_block_is_skipped_as_a_whole_and_scaled_up_otherwise():
    torch.manual_seed(0)
    block, features = ResidualBlock(3, 3, 5, stride=1, skipped=0.25).train(), torch.randn(64, 3, 20)
    nn.init.uniform_(block.second_norm.weight)
    inner = features
    for convolve, norm in ((block.first, block.first_norm), (block.second, block.second_norm)):
        inner = F.conv1d(F.relu(inner) if convolve is block.second else inner, convolve.weight, padding=2)
        inner = F.batch_norm(inner, None, None, norm.weight, norm.bias, training=True)
    output = block(features)
    skipped, kept = F.relu(features), F.relu(inner / 0.75 + features)
    is_skipped = (output == skipped).flatten(1).all(dim=1)
    assert 0 < is_skipped.sum() < 40
    torch.testing.assert_close(output, torch.where(is_skipped[:, None, None], skipped, kept))


@pytest.mark.parametrize("settings", [CnnSettings(widths=(4, 6, 8), n_blocks=2), LeadwiseSettings(n_blocks=2)])
def test_higher_residual_blocks_are_skipped_more(settings):
    def fractions(drop_path):
        encoder = settings.model_copy(update={"drop_path": drop_path}).build(20)
        return [module.skipped for module in encoder.modules() if isinstance(module, StochasticDepth)]

    depth = len(fractions(0.0))
    assert fractions(0.3) == pytest.approx([0.3 * level / depth for level in range(1, depth + 1)])
    assert fractions(0.0) == [0.0] * depth
    assert settings.drop_path == 0


def test_stochastic_depth_is_off_in_eval_mode():
    inner = torch.randn(8, 2, 3)
    assert StochasticDepth(0.5).eval()(inner) is inner
    assert StochasticDepth(0.0)(inner) is inner


def test_an_image_has_its_features_last_in_memory():
    image = as_image(torch.randn(2, 5, 7))
    assert image.shape == (2, 5, 1, 7)
    assert image.stride()[1] == 1
    again = as_image(image.squeeze(2))
    assert again.data_ptr() == image.data_ptr()  # a stack of blocks makes no copy


def test_the_position_encoding_is_a_depthwise_convolution():
    place, features = Position(5, 7), torch.randn(2, 5, 40)
    told = F.conv1d(features, place.convolve.weight[:, :, 0], place.convolve.bias, padding=3, groups=5)
    torch.testing.assert_close(place(features), features + F.gelu(told))


def test_the_skip_rate_rises_linearly_to_the_last_block():
    assert [block.skip.skipped for block in Transformer(8, 4, 2, 0.0, 0.2)] == pytest.approx([0.05, 0.1, 0.15, 0.2])
