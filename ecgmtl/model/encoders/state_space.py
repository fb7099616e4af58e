"""Bidirectional diagonal state spaces along time (Gu et al., NeurIPS 2022, S4D)."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Start = Literal["lin", "inv"]


def start_frequencies(n_pairs: int, start: Start) -> Float[Tensor, " pair"]:
    r"""Return imaginary parts of A: :math:`\pi n` for S4D-Lin, :math:`\frac{N}{\pi}(\frac{N}{2n+1} - 1)` for S4D-Inv.

    N counts both numbers of each pair.
    """
    n = torch.arange(n_pairs, dtype=torch.float32)
    if start == "lin":
        return math.pi * n
    return 2 * n_pairs / math.pi * (2 * n_pairs / (2 * n + 1) - 1)


class StateSpace(nn.Module):
    r"""Linear system of each feature, :math:`x' = Ax + u, y = 2\,\mathrm{Re}(Cx) + Du`.

    One number of each conjugate pair of the diagonal A is stored. B is 1, because C learns the product. Past and future
    are read by the same A and another C. Signals are held for a frame (zero-order hold). All is computed in the
    precision of the parameters, also in a bf16 network: a kernel sums oscillations that nearly cancel.
    """

    def __init__(self, width: int, n_pairs: int, start: Start, steps: tuple[float, float]) -> None:
        super().__init__()
        self.n_pairs = n_pairs
        shortest, longest = map(math.log, steps)
        self.log_step = nn.Parameter(shortest + (longest - shortest) * torch.rand(width))
        # vectors, so that the optimizer does not decay them as it does matrices
        self.log_damping = nn.Parameter(torch.full((width * n_pairs,), math.log(0.5)))
        self.frequency = nn.Parameter(start_frequencies(n_pairs, start).repeat(width))
        self.readout = nn.Parameter(math.sqrt(0.5) * torch.randn(width, 2, 2, n_pairs))
        self.skip = nn.Parameter(torch.randn(width))

    def dynamics(self) -> list[nn.Parameter]:
        """Return the parameters that set time scales: the steps, and A."""
        return [self.log_step, self.log_damping, self.frequency]

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        signals = features.to(self.skip.dtype)
        if torch.compiler.is_exporting():
            return convolve_by_matrices(signals, *self.responses(signals.shape[-1]))
        with torch.autocast(features.device.type, enabled=False):
            return convolve(signals, around(*self.responses(signals.shape[-1])))

    def responses(self, n_frames: int) -> tuple[Float[Tensor, "feature frame"], Float[Tensor, "feature frame"]]:
        """Return the response to a frame and those before it, and to those after it, each with the nearest first."""
        kernel = self.kernel(n_frames)
        past, future = kernel[:, 0], kernel[:, 1]
        return torch.cat([past[:, :1] + self.skip[:, None], past[:, 1:]], dim=-1), future

    def kernel(self, n_frames: int) -> Float[Tensor, "feature 2 frame"]:
        r"""Return the responses :math:`K_l = 2\,\mathrm{Re} \sum_n C_n \bar B_n \bar A_n^l` to the past and the future.

        With :math:`\bar A = e^{\Delta A}` and :math:`\bar B = A^{-1}(\bar A - 1)`. Index l of the future is l + 1
        frames ahead.
        """
        step = self.log_step.exp()[:, None]
        damping, frequency = -self.log_damping.exp().view(-1, self.n_pairs), self.frequency.view(-1, self.n_pairs)
        real, imaginary = held(damping, frequency, step)
        first, second = self.readout[:, :, 0], self.readout[:, :, 1]
        weights = torch.cat(
            [
                first * real[:, None] - second * imaginary[:, None],
                -first * imaginary[:, None] - second * real[:, None],
            ],
            dim=-1,
        )
        lag = torch.arange(n_frames, device=step.device, dtype=step.dtype)
        envelope = torch.exp((damping * step)[..., None] * lag)
        angle = (frequency * step)[..., None] * lag
        return 2 * weights @ torch.cat([envelope * angle.cos(), envelope * angle.sin()], dim=1)


def held(
    damping: Float[Tensor, "feature pair"], frequency: Float[Tensor, "feature pair"], step: Float[Tensor, "feature 1"]
) -> tuple[Float[Tensor, "feature pair"], Float[Tensor, "feature pair"]]:
    r"""Return the real and imaginary part of :math:`\bar B = A^{-1}(e^{\Delta A} - 1)`. Short steps lose no digits."""
    shrink, angle = damping * step, frequency * step
    grown = 2 * torch.exp(shrink / 2) * torch.sinh(shrink / 2)  # e^x - 1
    real = grown * angle.cos() - 2 * (angle / 2).sin().square()
    imaginary = torch.exp(shrink) * angle.sin()
    square = damping.square() + frequency.square()
    return (real * damping + imaginary * frequency) / square, (imaginary * damping - real * frequency) / square


def around(
    past: Float[Tensor, "feature frame"], future: Float[Tensor, "feature frame"]
) -> Float[Tensor, "feature size"]:
    """Return both responses as one circular kernel, the past from its start and the future from its end.

    Its length is a multiple of 64, for which Fourier transforms are fast.
    """
    n_padding = -2 * past.shape[-1] % 64
    return torch.cat([past, past.new_zeros(len(past), n_padding), future.flip(-1)], dim=-1)


class Convolution(torch.autograd.Function):
    """Circular convolution by Fourier transforms. torch's own derivative of them takes half as long again."""

    @staticmethod
    def forward(
        context: Any, signals: Float[Tensor, "batch feature frame"], around: Float[Tensor, "feature size"]
    ) -> Float[Tensor, "batch feature frame"]:
        size = around.shape[-1]
        spectrum, response = torch.fft.rfft(signals, size), torch.fft.rfft(around)
        context.save_for_backward(spectrum, response)
        context.size = size
        return torch.fft.irfft(spectrum * response, size)[..., : signals.shape[-1]]

    @staticmethod
    @once_differentiable
    def backward(
        context: Any, gradient: Float[Tensor, "batch feature frame"]
    ) -> tuple[Float[Tensor, "batch feature frame"], Float[Tensor, "feature size"]]:
        spectrum, response = context.saved_tensors
        incoming = torch.fft.rfft(gradient, context.size)
        to_signals = torch.fft.irfft(incoming * response.conj(), context.size)[..., : gradient.shape[-1]]
        return to_signals, torch.fft.irfft((incoming * spectrum.conj()).sum(dim=0), context.size)


convolve: Callable[[Tensor, Tensor], Tensor] = Convolution.apply


def convolve_by_matrices(
    signals: Float[Tensor, "batch feature frame"],
    past: Float[Tensor, "feature frame"],
    future: Float[Tensor, "feature frame"],
) -> Float[Tensor, "batch feature frame"]:
    r"""Convolve as `convolve` does, with Fourier transforms as matrix products: ONNX's own are inexact and slow.

    The circle has twice the signal's length n, so that all angles are in one symmetric table, :math:`\pi jk / n`.
    """
    n_frames = signals.shape[-1]
    index = torch.arange(n_frames + 1, device=signals.device)
    turns = torch.outer(index, index) % (2 * n_frames)  # whole turns are removed while numbers are exact
    angle = turns.to(signals.dtype) * (math.pi / n_frames)
    cos, sin = angle.cos(), angle.sin()
    before, after, padded = F.pad(past, (0, 1)), F.pad(future, (1, 0)), F.pad(signals, (0, 1))
    real, imaginary = (before + after) @ cos, (before - after) @ sin
    even, odd = padded @ cos, padded @ sin
    inner = (index > 0) & (index < n_frames)  # these frequencies stand for two each
    share = (1 + inner.to(signals.dtype)) / (2 * n_frames)
    convolved = (share * (even * real - odd * imaginary)) @ cos + (share * (even * imaginary + odd * real)) @ sin
    return convolved[..., :n_frames]
