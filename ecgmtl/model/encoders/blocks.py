"""Building blocks that more than one encoder uses."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def as_image(features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature 1 frame"]:
    """Return features as an image one pixel high, with time as its width and features last in memory.

    Processors convolve and normalize a third faster there, and torch's depthwise convolutions are some twenty times as
    fast. The result of `squeeze(2)` on an image has this layout already and is not copied.
    """
    return features.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Frames(nn.Module):
    """Conversion of an image one pixel high to features over frames."""

    def forward(self, image: Float[Tensor, "batch feature 1 frame"]) -> Float[Tensor, "batch feature frame"]:
        return image.squeeze(2)


class Convolution(nn.Conv1d):
    """Convolution of images along time, each row by itself, with the weights of `Conv1d`."""

    def forward(self, image: Float[Tensor, "batch n_in row frame"]) -> Float[Tensor, "batch n_out row out_frame"]:
        return self.along_time(image, self.weight)

    def along_time(self, image: Tensor, weight: Float[Tensor, "n_out n_in kernel"]) -> Tensor:
        """Convolve each row of an image with the same weight."""
        stride, padding = (1, *self.stride), (0, int(self.padding[0]))
        return F.conv2d(image, weight.unsqueeze(2), self.bias, stride, padding)


class FrameConvolution(Convolution):
    """Convolution of features over frames, like `Conv1d`."""

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        return self.along_time(as_image(features), self.weight).squeeze(2)


class FirstConvolution(Convolution):
    """Convolution of an encoder's input rows. The last rows may be left out: they count as 0 and cost nothing."""

    def forward(self, rows: Float[Tensor, "batch row time"]) -> Float[Tensor, "batch feature 1 frame"]:
        return self.of_image(as_image(rows))

    def of_image(self, image: Float[Tensor, "batch n_in row time"]) -> Float[Tensor, "batch n_out row frame"]:
        """Convolve an image whose last channels may be left out."""
        return self.along_time(image, self.weight[:, : image.shape[1]])


class StemConvolution(FirstConvolution):
    """First convolution, which halves the time axis. Its kernel is twice as long: a QRS complex is ten raw samples."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int) -> None:
        super().__init__(n_in, n_out, 2 * kernel_size + 1, stride=2, padding=kernel_size, bias=False)


class StochasticDepth(nn.Module):
    """Stochastic depth: in training, random records skip a block, and the others are scaled up to the same expectation.

    Huang et al., ECCV 2016.
    """

    def __init__(self, skipped: float) -> None:
        super().__init__()
        self.skipped = skipped

    def forward(self, inner: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        if not self.training or not self.skipped:
            return inner
        return inner * F.dropout(inner.new_ones(len(inner), *(1 for _ in inner.shape[1:])), self.skipped)


def skipped_fractions(drop_path: float, depth: int) -> list[float]:
    """Return the fraction of records that skip each of `depth` blocks, which rises to `drop_path` at the top."""
    return [drop_path * level / depth for level in range(1, depth + 1)]


class ResidualBlock(nn.Module):
    """Two convolutions along time with a shortcut (He et al., CVPR 2016). The first convolution has the stride.

    skipped: fraction of records that take the shortcut alone in training.
    """

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int, skipped: float = 0.0) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.first = Convolution(n_in, n_out, kernel_size, stride, pad, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = Convolution(n_out, n_out, kernel_size, 1, pad, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        nn.init.zeros_(self.second_norm.weight)  # the block starts as its shortcut, which trains faster
        self.skip = StochasticDepth(skipped)
        self.shortcut = nn.Identity() if stride == 1 and n_in == n_out else Shortcut(n_in, n_out, stride)

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        return self.of_image(as_image(features)).squeeze(2)

    def of_image(self, image: Float[Tensor, "batch n_in row frame"]) -> Float[Tensor, "batch n_out row out_frame"]:
        """Apply the block to each row by itself, with the same weights."""
        inner = F.relu(self.first_norm(self.first(image)))
        inner = self.second_norm(self.second(inner))
        return F.relu(self.skip(inner) + self.shortcut(image))


class Halve(nn.Module):
    """Average pooling over two frames. A last frame without a neighbor is kept."""

    def forward(self, image: Float[Tensor, "batch n_in row frame"]) -> Float[Tensor, "batch n_in row out_frame"]:
        # for an even number both modes are the same, but only without it are runtimes of exports fast
        return F.avg_pool2d(image, (1, 2), ceil_mode=image.shape[-1] % 2 == 1)


POOLS: dict[int, Callable[[], nn.Module]] = {1: nn.Identity, 2: Halve}
"""Average pooling by stride."""


class Shortcut(nn.Module):
    """Average pooling over the stride, so that no sample is dropped, then a change of width (ResNet-D, CVPR 2019)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.pool = POOLS[stride]()
        self.widen = Convolution(n_in, n_out, 1, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, image: Float[Tensor, "batch n_in row frame"]) -> Float[Tensor, "batch n_out row out_frame"]:
        return self.norm(self.widen(self.pool(image)))


class ResidualStages(nn.Sequential):
    """Residual blocks in stages, from each width to the next. The first block of a stage halves the time axis.

    skipped: fraction of records that skip a block in training, for each block.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        n_blocks: int,
        kernel_size: int,
        skipped: Sequence[float],
        kind: type[ResidualBlock] = ResidualBlock,
    ) -> None:
        shapes = [
            (n_out if block else n_in, n_out, block) for n_in, n_out in pairwise(widths) for block in range(n_blocks)
        ]
        super().__init__(
            *(
                kind(n_in, n_out, kernel_size, stride=1 if block else 2, skipped=share)
                for (n_in, n_out, block), share in zip(shapes, skipped, strict=True)
            )
        )
        self.widths = tuple(width for width in widths[1:] for _ in range(n_blocks))
        """Number of features of each block."""
        self.strides = tuple(2**stage for stage in range(1, len(widths)) for _ in range(n_blocks))
        """Input frames per frame of each block."""

    def weights(self, below: nn.Parameter) -> list[nn.Parameter]:
        """Return the weights of all levels, as `Encoder.weights` does; `below` is the weight of the lowest level."""
        weights = [below]
        for block in self:
            shortcut = block.shortcut
            weights.append(shortcut.get_parameter("widen.weight") if isinstance(shortcut, Shortcut) else weights[-1])
        return weights


class Position(nn.Module):
    """Relative position encoding by a depthwise convolution (Baevski et al., NeurIPS 2020, wav2vec 2.0).

    As it is relative, a network trained on short crops can read whole records.
    """

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, width, (1, kernel_size), padding=(0, kernel_size // 2), groups=width)

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        image = as_image(features)
        return (image + F.gelu(self.convolve(image))).squeeze(2)


class TransformerBlock(nn.Module):
    """Self-attention over frames and a two-layer network, each normalized first (Xiong et al., ICML 2020).

    The last block of a stack normalizes its output, too.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, skipped: float, *, is_last: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.skip = StochasticDepth(skipped)
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.last_norm = nn.LayerNorm(width) if is_last else nn.Identity()

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        frames = features.transpose(1, 2)
        frames = frames + self.skip(self.drop(self.attend(self.attention_norm(frames))))
        frames = frames + self.skip(self.drop(self.narrow(F.gelu(self.widen(self.network_norm(frames))))))
        return self.last_norm(frames).transpose(1, 2)

    def attend(self, frames: Float[Tensor, "batch frame feature"]) -> Float[Tensor, "batch frame feature"]:
        batch, n_frames, width = frames.shape
        heads = self.qkv(frames).view(batch, n_frames, 3, self.n_heads, width // self.n_heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).reshape(batch, n_frames, width))

    def drop(self, frames: Float[Tensor, "batch frame feature"]) -> Float[Tensor, "batch frame feature"]:
        return F.dropout(frames, self.dropout, self.training)


class Transformer(nn.ModuleList):
    """Stack of transformer blocks, bottom to top."""

    def __init__(self, width: int, depth: int, n_heads: int, dropout: float, drop_path: float) -> None:
        super().__init__(
            TransformerBlock(width, n_heads, dropout, skipped, is_last=level == depth)
            for level, skipped in enumerate(skipped_fractions(drop_path, depth), 1)
        )

    def weights(self) -> list[nn.Parameter]:
        """Return the last weight of each block."""
        return [block.get_parameter("narrow.weight") for block in self]
