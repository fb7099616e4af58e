import math

import pytest
import torch

from ecgmtl.encoders.cnn import CnnSettings
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
