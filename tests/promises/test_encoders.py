import math

import pytest
import torch
import torch.nn.functional as F

from ecgmtl.model.encoders.base import Encoder, require_both_shapes
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.model.encoders.convnext import ConvNextSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings
from ecgmtl.model.encoders.s4d import S4dSettings
from ecgmtl.model.encoders.transformer import TransformerSettings
from ecgmtl.model.heads import DecoderSettings
from tests.promises.family import every_encoder


@every_encoder
@pytest.mark.parametrize("n_samples", [250, 997, 1000])
def test_frames_cover_the_signal(settings, n_samples):
    encoder = settings().build(20)
    features = encoder(torch.randn(2, 20, n_samples))
    assert features.shape == (2, encoder.n_features, math.ceil(n_samples / encoder.stride))


@every_encoder
def test_a_record_does_not_depend_on_its_neighbors(settings):
    encoder = settings().build(20).eval()
    signals = torch.randn(3, 20, 500)
    torch.testing.assert_close(encoder(signals)[1:2], encoder(signals[1:2]), atol=1e-5, rtol=1e-5)


@every_encoder
def test_mask_rows_that_are_left_out_count_as_zero(settings):
    encoder = settings().build(20).eval()
    rows = torch.randn(2, 12, 253)
    zeros = torch.zeros(2, 8, 253)
    torch.testing.assert_close(encoder(rows), encoder(torch.cat([rows, zeros], dim=1)), atol=1e-5, rtol=1e-4)


@every_encoder
def test_every_parameter_gets_a_gradient(settings):
    encoder = settings().build(20)
    for name, parameter in encoder.named_parameters():
        if name.endswith("second_norm.weight"):  # zero at the start, so that blocks begin as shortcuts
            torch.nn.init.ones_(parameter)
    encoder(torch.randn(4, 20, 500)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="should be odd"):
        CnnSettings(kernel_size=4)


@every_encoder
def test_every_sample_influences_the_features(settings):
    signals = torch.randn(2, 20, 253, requires_grad=True)
    settings().build(20).eval()(signals).square().sum().backward()
    assert signals.grad.abs().amax(dim=(0, 1)).min() > 0


@every_encoder
def test_records_longer_than_those_of_training_are_accepted(settings):
    encoder = settings().build(20).train()
    encoder(torch.randn(4, 20, 250))
    features = encoder.eval()(torch.randn(1, 20, 5000))
    assert features.shape[-1] == math.ceil(5000 / encoder.stride)
    assert features.isfinite().all()


def test_a_convolutional_frame_depends_only_on_its_receptive_field():
    encoder = CnnSettings(n_blocks=2).build(20).eval()
    signals = torch.randn(1, 20, 2000)
    whole, part = encoder(signals), encoder(signals[..., 480:1520])
    reach = 20  # frames; beyond them padding is not felt
    torch.testing.assert_close(part[..., reach:-reach], whole[..., 30 + reach : 95 - reach], rtol=1e-4, atol=1e-5)


def test_widths_and_strides_of_a_cnn_follow_its_stages():
    encoder = CnnSettings(widths=(8, 16, 24), n_blocks=2).build(20)
    assert (encoder.n_features, encoder.stride) == (24, 8)
    assert encoder.widths == (8, 16, 16, 24, 24)  # the stem, then two blocks a stage
    assert encoder.strides == (2, 4, 4, 8, 8)


@every_encoder
def test_the_last_level_is_the_output(settings):
    encoder = settings().build(20).eval()
    rows = torch.randn(2, 20, 253)
    levels = encoder.levels(rows)
    assert torch.equal(levels[-1], encoder(rows))
    frames = [(width, math.ceil(253 / stride)) for width, stride in zip(encoder.widths, encoder.strides, strict=True)]
    assert [tuple(level.shape[1:]) for level in levels] == frames
    assert all(torch.equal(low, level) for low, level in zip(encoder.levels(rows, 2), levels, strict=False))


@every_encoder
def test_each_layer_reads_only_the_one_below(settings):
    encoder = settings().build(20).eval()
    rows = features = torch.randn(2, 20, 200)
    for layer, level in zip(encoder.layers(), encoder.levels(rows), strict=True):
        features = layer(features)
        assert torch.equal(features, level)


@every_encoder
def test_the_layers_hold_every_parameter_once(settings):
    encoder = settings().build(20)
    listed = [parameter for layer in encoder.layers() for parameter in layer.parameters()]
    assert len(listed) == len(set(listed)) == len(list(encoder.parameters()))


@pytest.mark.parametrize(
    "settings",
    [
        CnnSettings(),
        CnnSettings(n_blocks=3),
        CnnSettings(widths=(8,)),
        CnnTransformerSettings(),
        TransformerSettings(),
        S4dSettings(),
        ConvNextSettings(),
        ConvNextSettings(widths=(8, 6), n_blocks=3, stem_stride=1),
        LeadwiseSettings(),
        LeadwiseSettings(lead_widths=(4,), widths=(6,)),
    ],
)
def test_each_levels_weight_has_a_gradient_from_all_its_features(settings):
    encoder = settings.build(20)
    for weight, level in zip(encoder.weights(), encoder.levels(torch.randn(4, 20, 400)), strict=True):
        for half in level.chunk(2, dim=1):  # two tasks, which read different features
            (gradient,) = torch.autograd.grad(half.square().sum(), weight, retain_graph=True)
            assert weight.dim() > 1
            assert gradient.any()
    assert encoder.last_weight() is encoder.weights()[-1]


@every_encoder
def test_all_top_features_depend_on_the_last_weight(settings):
    encoder = settings().build(20).eval()
    rows = torch.randn(2, 20, 400)
    before = encoder(rows)
    with torch.no_grad():
        encoder.last_weight().mul_(1.5)
    changed = (encoder(rows) - before).abs().amax(dim=(0, 2)) > 0
    assert torch.equal(changed, before.abs().amax(dim=(0, 2)) > 0)  # all but those that a ReLU holds at 0


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CnnTransformerSettings(kernel_size=6), "should be odd"),
        (lambda: DecoderSettings(kernel_size=4), "should be odd"),
        (lambda: CnnSettings(widths=()), "at least 1 item"),
        (lambda: CnnTransformerSettings(stem=()), "at least 1 item"),
        (lambda: TransformerSettings(width=30), "width 30 is not divisible by n_heads 4"),
        (lambda: S4dSettings(state=5), "multiple of 2"),
        (lambda: S4dSettings(steps=(0.1, 0.01)), "steps 0.1 to 0.01: the second"),
        (lambda: ConvNextSettings(kernel_size=6), "should be odd"),
        (lambda: ConvNextSettings(widths=()), "at least 1 item"),
        (lambda: LeadwiseSettings(lead_widths=()), "at least 1 item"),
        (lambda: LeadwiseSettings().build(12), "reads 20 rows; it was built for 12"),
    ],
)
def test_invalid_sizes_are_refused(build, said):
    with pytest.raises(ValueError, match=said):
        build()


@every_encoder
def test_a_few_steps_lower_the_loss(settings):
    encoder, read = settings().build(20), torch.nn.LazyLinear(3)
    rows, labels = torch.randn(8, 20, 200), torch.randint(2, (8, 3)).float()
    read(encoder(rows).mean(dim=-1))
    optimizer, losses = torch.optim.AdamW([*encoder.parameters(), *read.parameters()], lr=2e-3), []
    for _ in range(12):
        optimizer.zero_grad()
        losses.append(F.binary_cross_entropy_with_logits(read(encoder(rows).mean(dim=-1)), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


class OneShape(Encoder):
    """Encoder that reads 20 rows only, and may give the wrong width."""

    widths, strides = (4,), (1,)

    def __init__(self, n_in, n_out):
        super().__init__()
        self.convolve = torch.nn.Conv1d(n_in, n_out, 1)

    def layers(self):
        return [self.convolve]

    def weights(self):
        return [self.convolve.weight]


@pytest.mark.parametrize(
    ("n_in", "n_out", "message"),
    [(20, 4, "encoder OneShape cannot read 12 rows"), (12, 4, "cannot read 20 rows"), (20, 5, r"promise \(1, 4, 8\)")],
)
def test_an_encoder_that_accepts_only_one_shape_is_refused_by_name(n_in, n_out, message):
    with pytest.raises(ValueError, match=message):
        require_both_shapes(OneShape(n_in, n_out), 20)
