import pytest
import torch
import torch.nn.functional as F

from ecgmtl.model.encoders.convnext import ConvNextBlock, ConvNextSettings

SETTINGS = ConvNextSettings(widths=(6, 8, 10), n_blocks=2, stem_stride=4, kernel_size=7, expansion=3, layer_scale=0.1)


def test_a_block_is_a_depthwise_convolution_and_two_layers_at_each_frame():
    block, features = ConvNextBlock(6, SETTINGS, 0.0).train(), torch.randn(4, 6, 31)
    torch.nn.init.uniform_(block.norm.weight)
    inner = F.conv1d(features, block.depthwise.weight[:, :, 0], padding=3, groups=6)
    inner = F.batch_norm(inner, None, None, block.norm.weight, block.norm.bias, training=True)
    inner = F.gelu(F.linear(inner.transpose(1, 2), block.widen.weight[:, :, 0, 0], block.widen.bias))
    inner = F.linear(inner, block.narrow.weight[:, :, 0, 0]).transpose(1, 2)
    torch.testing.assert_close(block(features), features + block.scale[:, None] * inner)
    assert tuple(block.widen.weight.shape[:2]) == (18, 6)
    assert torch.equal(block.scale, torch.full((6,), 0.1))


def test_widths_and_strides_are_those_of_the_stages():
    encoder = SETTINGS.build(20)
    assert encoder.widths == (6, 6, 6, 8, 8, 10, 10)  # the stem, then two blocks a stage
    assert encoder.strides == (4, 4, 4, 8, 8, 16, 16)


def test_higher_blocks_are_skipped_more():
    rates = [block[1].skip.skipped for block in SETTINGS.model_copy(update={"drop_path": 0.3}).build(20).blocks]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_a_stronger_signal_gives_stronger_features():
    encoder, rows = SETTINGS.build(20), torch.randn(4, 20, 400)
    for _ in range(20):
        encoder(rows)
    encoder.eval()
    weak, strong = encoder(rows), encoder(2 * rows)
    assert strong.std() > 1.5 * weak.std()  # voltage is not normalized away, record by record
