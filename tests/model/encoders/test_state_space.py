import math

import numpy as np
import pytest
import torch

from ecgmtl.model.encoders import state_space
from ecgmtl.model.encoders.state_space import StateSpace, around, convolve, convolve_by_matrices, start_frequencies


def build(width=3, n_pairs=4, start="lin", dtype=torch.float64):
    return StateSpace(width, n_pairs, start, (0.01, 0.4)).to(dtype)


def scan(space, signals):
    """Compute the output of the system frame by frame from its state, in complex float64."""
    step = space.log_step.exp().detach()[:, None]
    a = torch.complex(-space.log_damping.exp(), space.frequency).detach().view(-1, space.n_pairs)
    c = torch.complex(*space.readout.detach().unbind(dim=2))
    kept, taken = torch.exp(step * a), (torch.exp(step * a) - 1) / a
    n_frames = signals.shape[-1]
    found = space.skip.detach()[:, None] * signals
    for direction, order in enumerate((range(n_frames), reversed(range(n_frames)))):
        state = torch.zeros(*signals.shape[:2], space.n_pairs, dtype=torch.complex128)
        for frame in order:
            before = 2 * (state * c[:, direction]).sum(dim=-1).real
            state = kept * state + taken * signals[..., frame, None]
            now = 2 * (state * c[:, direction]).sum(dim=-1).real
            found[..., frame] += before if direction else now  # the backward direction excludes the frame itself
    return found


@pytest.mark.parametrize("start", ["lin", "inv"])
@pytest.mark.parametrize("n_frames", [1, 37, 200])
def test_the_convolution_is_a_scan_of_the_held_system(start, n_frames):
    space, signals = build(start=start), torch.randn(2, 3, n_frames, dtype=torch.float64)
    torch.testing.assert_close(space(signals), scan(space, signals), rtol=1e-9, atol=1e-10)


def test_the_response_of_one_pair_is_a_damped_oscillation():
    space = build(width=1, n_pairs=1)
    with torch.no_grad():
        space.log_step.fill_(math.log(0.1))
        space.log_damping.fill_(math.log(0.5))
        space.frequency.fill_(5.0)
        space.readout.copy_(torch.tensor([[[[0.7], [-0.2]], [[0.0], [1.0]]]], dtype=torch.float64))
    # x' = a x + u with a = -0.5 + 5i; u held at 1 over the step 0.1 leaves x = (e^{0.1 a} - 1) / a, then free decay
    a, time = -0.5 + 5j, 0.1 * np.arange(30)
    first = (np.exp(0.1 * a) - 1) / a
    past, future = space.kernel(30)[0].detach().numpy()
    np.testing.assert_allclose(past, 2 * ((0.7 - 0.2j) * first * np.exp(a * time)).real, atol=1e-12)
    np.testing.assert_allclose(future, 2 * (1j * first * np.exp(a * time)).real, atol=1e-12)


def test_the_integral_of_a_response_is_what_a_constant_signal_settles_at():
    space = build(width=5)
    with torch.no_grad():
        space.readout[:, 1] = 0
    a = torch.complex(-space.log_damping.exp(), space.frequency).view(5, -1)
    c = torch.complex(*space.readout[:, 0].unbind(dim=1))
    settled = 2 * (-c / a).sum(dim=-1).real  # 0 = a x + u
    torch.testing.assert_close(space.kernel(8000)[:, 0].sum(dim=-1), settled)


def test_an_impulse_has_a_response_on_both_sides():
    space = build(dtype=torch.float32)
    impulse = torch.zeros(1, 3, 81)
    impulse[..., 40] = 1
    response, kernel = space(impulse)[0], space.kernel(81)
    torch.testing.assert_close(response[:, 41:], kernel[:, 0, 1:41])
    torch.testing.assert_close(response[:, :40].flip(-1), kernel[:, 1, :40])
    torch.testing.assert_close(response[:, 40], kernel[:, 0, 0] + space.skip)
    assert (response[:, 30] != 0).all()


def test_initial_frequencies_match_the_paper():
    np.testing.assert_allclose(start_frequencies(3, "lin"), [0, math.pi, 2 * math.pi], rtol=1e-6)
    # N = 6: 6 / pi * (6 / 1 - 1), (6 / 3 - 1), (6 / 5 - 1)
    np.testing.assert_allclose(start_frequencies(3, "inv"), [30 / math.pi, 6 / math.pi, 1.2 / math.pi], rtol=1e-6)
    space = build(width=1000)
    torch.testing.assert_close(space.log_damping.exp(), torch.full_like(space.log_damping, 0.5))
    assert space.log_step.exp().min() > 0.0099
    assert space.log_step.exp().max() < 0.4001
    assert space.log_step.mean().item() == pytest.approx((math.log(0.01) + math.log(0.4)) / 2, abs=0.1)


def test_gradients_match_finite_differences():
    space, signals = build(width=2, n_pairs=2), torch.randn(2, 2, 9, dtype=torch.float64, requires_grad=True)
    names = list(dict(space.named_parameters()))

    def respond(signals, *values):
        return torch.func.functional_call(space, dict(zip(names, values, strict=True)), (signals,))

    torch.autograd.gradcheck(respond, (signals, *space.parameters()))


def test_the_convolutions_backward_matches_autograd():
    signals = torch.randn(4, 3, 50, dtype=torch.float64, requires_grad=True)
    circle = torch.randn(3, 128, dtype=torch.float64, requires_grad=True)
    other = torch.fft.irfft(torch.fft.rfft(signals, 128) * torch.fft.rfft(circle), 128)[..., :50]
    own, weights = convolve(signals, circle), torch.randn_like(other)
    torch.testing.assert_close(own, other)
    for pair in zip(*(torch.autograd.grad(y, (signals, circle), weights) for y in (own, other)), strict=True):
        torch.testing.assert_close(*pair)


@pytest.mark.parametrize("n_frames", [1, 2, 63, 250])
def test_the_exported_form_computes_the_same(n_frames):
    space, signals = build(width=16, n_pairs=8, dtype=torch.float32), torch.randn(4, 16, n_frames)
    exported = convolve_by_matrices(signals, *space.responses(n_frames))
    torch.testing.assert_close(exported, space(signals), rtol=1e-5, atol=1e-5)


def test_short_steps_lose_no_digits():
    rates = torch.tensor([[-0.5]]), torch.tensor([[math.pi]]), torch.tensor([[1e-6]])
    exact = (np.exp(1e-6 * (-0.5 + 1j * math.pi)) - 1) / (-0.5 + 1j * math.pi)  # about the step
    real, imaginary = state_space.held(*rates)
    assert real.item() == pytest.approx(exact.real, rel=1e-6)
    assert imaginary.item() == pytest.approx(exact.imag, rel=1e-3)


def test_it_computes_in_fp32_inside_a_bf16_network():
    space, signals = build(dtype=torch.float32), torch.randn(2, 3, 40)
    with torch.autocast("cpu", torch.bfloat16):
        within = space(signals)
        assert space(signals.bfloat16()).dtype == torch.float32
    assert torch.equal(within, space(signals))


@pytest.mark.parametrize(("n_frames", "size"), [(1, 64), (125, 256), (128, 256), (1250, 2560)])
def test_transform_lengths_are_multiples_of_64(n_frames, size):
    assert around(torch.randn(1, n_frames), torch.randn(1, n_frames)).shape == (1, size)
