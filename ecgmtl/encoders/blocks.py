"""Building blocks that more than one encoder uses."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., CVPR 2016), along time; the first convolution takes the stride."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.first = nn.Conv1d(n_in, n_out, kernel_size, stride, pad, bias=False)
        self.first_norm = nn.BatchNorm1d(n_out)
        self.second = nn.Conv1d(n_out, n_out, kernel_size, 1, pad, bias=False)
        self.second_norm = nn.BatchNorm1d(n_out)
        nn.init.zeros_(self.second_norm.weight)  # the block starts as its shortcut, which trains faster
        self.shortcut = nn.Identity() if stride == 1 and n_in == n_out else Shortcut(n_in, n_out, stride)

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        inner = F.relu(self.first_norm(self.first(features)))
        inner = self.second_norm(self.second(inner))
        return F.relu(inner + self.shortcut(features))


class Shortcut(nn.Module):
    """Averages over the stride, so that no sample is dropped, then changes the width (ResNet-D, CVPR 2019)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool1d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.widen = nn.Conv1d(n_in, n_out, 1, bias=False)
        self.norm = nn.BatchNorm1d(n_out)

    def forward(self, features: Float[Tensor, "batch n_in frame"]) -> Float[Tensor, "batch n_out out_frame"]:
        return self.norm(self.widen(self.pool(features)))


class Position(nn.Module):
    """Tells frames their places by a depthwise convolution (Baevski et al., NeurIPS 2020, wav2vec 2.0).

    Such a position is relative, so a network trained on short crops reads whole records.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(width, width, kernel_size=15, padding=7, groups=width)

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        return features + F.gelu(self.convolve(features))


class TransformerBlock(nn.Module):
    """Self-attention over frames and a two-layer network, each normalised first (Xiong et al., ICML 2020).

    The last block of a stack normalises what it gives, too.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, *, is_last: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.last_norm = nn.LayerNorm(width) if is_last else nn.Identity()

    def forward(self, features: Float[Tensor, "batch feature frame"]) -> Float[Tensor, "batch feature frame"]:
        frames = features.transpose(1, 2)
        frames = frames + self.drop(self.attend(self.attention_norm(frames)))
        frames = frames + self.drop(self.narrow(F.gelu(self.widen(self.network_norm(frames)))))
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
    """The blocks of a stack, bottom to top."""

    def __init__(self, width: int, depth: int, n_heads: int, dropout: float) -> None:
        places = range(1, depth + 1)
        super().__init__(TransformerBlock(width, n_heads, dropout, is_last=place == depth) for place in places)

    def weights(self) -> list[nn.Parameter]:
        """Of each block its last weight."""
        return [block.get_parameter("narrow.weight") for block in self]
