import math

import pytest
import torch

from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.encoders.transformer import TransformerSettings
from ecgmtl.heads import DecoderSettings
from tests.promises import every_encoder


@every_encoder
@pytest.mark.parametrize("n_samples", [250, 997, 1000])
def test_frames_cover_the_signal(settings, n_samples):
    encoder = settings().build(20)
    features = encoder(torch.randn(2, 20, n_samples))
    assert features.shape == (2, encoder.n_features, math.ceil(n_samples / encoder.stride))


@every_encoder
def test_a_record_does_not_depend_on_its_neighbours(settings):
    encoder = settings().build(20).eval()
    signals = torch.randn(3, 20, 500)
    torch.testing.assert_close(encoder(signals)[1:2], encoder(signals[1:2]), atol=1e-5, rtol=1e-5)


@every_encoder
def test_every_parameter_learns(settings):
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
def test_every_sample_is_read(settings):
    signals = torch.randn(2, 20, 253, requires_grad=True)
    settings().build(20).eval()(signals).square().sum().backward()
    assert signals.grad.abs().amax(dim=(0, 1)).min() > 0


@every_encoder
def test_records_longer_than_those_of_training_are_read(settings):
    encoder = settings().build(20).train()
    encoder(torch.randn(4, 20, 250))
    features = encoder.eval()(torch.randn(1, 20, 5000))
    assert features.shape[-1] == math.ceil(5000 / encoder.stride)
    assert features.isfinite().all()


def test_a_convolutional_frame_depends_on_its_surroundings_alone():
    encoder = CnnSettings(n_blocks=2).build(20).eval()
    signals = torch.randn(1, 20, 2000)
    whole, part = encoder(signals), encoder(signals[..., 480:1520])
    reach = 20  # frames; beyond them padding is not felt
    torch.testing.assert_close(part[..., reach:-reach], whole[..., 30 + reach : 95 - reach], rtol=1e-4, atol=1e-5)


def test_the_width_of_a_cnn_is_its_last_and_its_stride_two_to_their_number():
    encoder = CnnSettings(widths=(8, 16, 24), n_blocks=2).build(20)
    assert (encoder.n_features, encoder.stride) == (24, 8)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CnnTransformerSettings(kernel_size=6), "should be odd"),
        (lambda: DecoderSettings(kernel_size=4), "should be odd"),
        (lambda: CnnSettings(widths=()), "at least 1 item"),
        (lambda: CnnTransformerSettings(stem=()), "at least 1 item"),
        (lambda: TransformerSettings(width=30), "width 30 cannot be shared by 4 heads"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build, said):
    with pytest.raises(ValueError, match=said):
        build()
