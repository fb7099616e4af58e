"""The interface of encoders."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecgmtl.data.lead_algebra import N_LEADS


class Encoder(nn.Module, ABC):
    """Network that maps rows over time to features over frames, `stride` samples per frame, for signals of any length.

    The settings' `build(n_inputs)` gets 20: 12 standardized leads, then a mask for each of the 8 independent leads.
    **Unmasked batches come without the mask: an encoder reads 20 rows or the first 12 of them.** The 8 rows that are
    left out count as 0. `FirstConvolution` of `blocks` reads both; `require_both_shapes` checks it. Two shapes instead
    of one save two fifths of the first convolution in every unmasked step.

    A signal of n samples gives ceil(n / stride) frames. An encoder is built of layers, each of which reads the one
    below; the output of a layer is a level, and 1 is the lowest.
    """

    widths: tuple[int, ...]
    """Number of features of each level, bottom to top."""
    strides: tuple[int, ...]
    """Samples per frame of each level."""

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """Return one module for each level, bottom to top."""

    @abstractmethod
    def weights(self) -> list[nn.Parameter]:
        """Return for each level the nearest weight, no norm's, on which all of the level's features depend.

        Its gradient must not be 0 at the start, as are those inside a residual block that starts as its shortcut.
        """

    def dynamics(self) -> list[nn.Parameter]:
        """Return the parameters that set time scales, which have their own learning rate; most encoders have none."""
        return []

    @property
    def n_features(self) -> int:
        """Number of features of the top level."""
        return self.widths[-1]

    @property
    def stride(self) -> int:
        """Samples per frame of the top level."""
        return self.strides[-1]

    def last_weight(self) -> nn.Parameter:
        """Return the weight of the last convolution or linear layer, where the tasks' gradient norms are compared."""
        return self.weights()[-1]

    def levels(
        self, rows: Float[Tensor, "batch row time"], n_levels: int | None = None
    ) -> tuple[Float[Tensor, "batch _ _"], ...]:
        """Return the features of the lowest `n_levels` levels, by default of all. Layers above them do not run."""
        features: list[Tensor] = []
        for layer in self.layers()[:n_levels]:
            features.append(layer(features[-1] if features else rows))
        return tuple(features)

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature frame"]:
        return self.levels(rows)[-1]


def require_both_shapes(encoder: Encoder, n_inputs: int) -> None:
    """Raise ValueError, naming the encoder, unless it reads `n_inputs` rows as well as the 12 leads among them."""
    n_samples, kind = 8 * encoder.stride, type(encoder).__name__
    for n_rows in (n_inputs, N_LEADS):
        rows = torch.zeros(1, n_rows, n_samples, device=next(encoder.parameters()).device)
        was_training = encoder.training
        try:
            with torch.no_grad():
                features = encoder.eval()(rows)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ValueError(
                f"the encoder {kind} cannot read {n_rows} rows ({error}); it should read {n_inputs} rows, or the first "
                f"{N_LEADS} of them where nothing is masked: begin it with encoders.blocks.FirstConvolution"
            ) from error
        finally:
            encoder.train(was_training)
        expected = (1, encoder.n_features, -(-n_samples // encoder.stride))
        if tuple(features.shape) != expected:
            raise ValueError(
                f"the encoder {kind} gives features of shape {tuple(features.shape)} for {n_rows} rows of {n_samples} "
                f"samples; its widths and strides promise {expected}"
            )
