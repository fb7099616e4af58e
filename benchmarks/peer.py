"""The peer that ecgmtl is compared with: xresnet1d101 with its published recipe for PTB-XL, eager and in fp32.

The network and the recipe are from Strodthoff, Wagner, Schaeffter and Samek, "Deep Learning for ECG Analysis:
Benchmarks and Insights from PTB-XL", 2021, and from the code published with it. This is a new implementation: ResNet-D
blocks (He et al., CVPR 2019) with convolutions along time.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor, nn

from ecgmtl.data.split import Split
from ecgmtl.evaluation.protocols import PROTOCOLS
from ecgmtl.metrics.ranking import auroc

DEPTHS = (3, 4, 23, 3)
WIDTH, EXPANSION, KERNEL = 64, 4, 5
EPOCHS, BATCH, HIGHEST_LR, WEIGHT_DECAY, SECONDS = 50, 128, 1e-2, 1e-2, 2.5


def convolve(n_in: int, n_out: int, kernel_size: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalization."""
    return [nn.Conv1d(n_in, n_out, kernel_size, stride, kernel_size // 2, bias=False), nn.BatchNorm1d(n_out)]


class Bottleneck(nn.Module):
    """Residual block of three convolutions, of which the outer two have a kernel size of 1."""

    def __init__(self, n_in: int, stride: int) -> None:
        super().__init__()
        n_out = WIDTH * EXPANSION
        self.inner = nn.Sequential(
            *convolve(n_in, WIDTH, 1),
            nn.ReLU(),
            *convolve(WIDTH, WIDTH, KERNEL, stride),
            nn.ReLU(),
            *convolve(WIDTH, n_out, 1),
        )
        pool = [nn.AvgPool1d(2, ceil_mode=True)] if stride == 2 else []
        self.shortcut = nn.Sequential(*pool, *(convolve(n_in, n_out, 1) if n_in != n_out else []))

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.inner(features) + self.shortcut(features))


class Head(nn.Sequential):
    """Two linear layers on the maximum and mean over time, each after normalization and dropout."""

    def __init__(self, n_features: int, n_labels: int) -> None:
        wide = [nn.BatchNorm1d(2 * n_features), nn.Dropout(0.25), nn.Linear(2 * n_features, 128), nn.ReLU()]
        super().__init__(*wide, nn.BatchNorm1d(128), nn.Dropout(0.5), nn.Linear(128, n_labels))

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(torch.cat([features.amax(dim=-1), features.mean(dim=-1)], dim=1))


class Xresnet1d101(nn.Sequential):
    """Network from signals in mV to logits. One mean and standard deviation over all leads standardize the signals."""

    mean: Tensor
    std: Tensor

    def __init__(self, n_labels: int) -> None:
        stem = [*convolve(12, 32, KERNEL, 2), nn.ReLU(), *convolve(32, 32, KERNEL), nn.ReLU()]
        stem += [*convolve(32, WIDTH, KERNEL), nn.ReLU(), nn.MaxPool1d(3, 2, 1)]
        positions = [(stage, block) for stage, depth in enumerate(DEPTHS) for block in range(depth)]
        blocks = [
            Bottleneck(WIDTH if (stage, block) == (0, 0) else WIDTH * EXPANSION, 2 if stage and not block else 1)
            for stage, block in positions
        ]
        super().__init__(*stem, *blocks, Head(WIDTH * EXPANSION, n_labels))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, signals: Tensor) -> Tensor:
        return super().forward((signals - self.mean) / self.std)

    classify = forward  # evaluation protocols call `classify`


class Peer:
    """Published recipe: AdamW with a one-cycle schedule and random crops. The weights of the last epoch are used."""

    def __init__(self, train: Split, seed: int = 0, epochs: int = EPOCHS) -> None:
        torch.manual_seed(seed)
        self.train = train.select(train.labels.sum(dim=1).cpu().numpy() > 0)
        self.model = Xresnet1d101(train.labels.shape[1]).to(train.device)
        signals = train.signals.float() / 1000
        self.model.mean.copy_(signals.mean())
        self.model.std.copy_(signals.std())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.99), weight_decay=WEIGHT_DECAY)
        steps = max(2, epochs * max(1, len(self.train) // BATCH))
        # warm-up, initial learning rate and momenta are the defaults of fastai 1, as in the published recipe
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, HIGHEST_LR, steps, pct_start=0.3)
        self.schedule_left = steps
        self.generator = torch.Generator(train.device).manual_seed(seed)

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch: each record once, cropped to 2.5 s at a random position."""
        order = torch.randperm(len(self.train), generator=self.generator, device=self.train.device)
        length = round(SECONDS * self.train.fs)
        for index in order[: max(BATCH, len(order) // BATCH * BATCH)].split(BATCH):
            start = torch.randint(
                self.train.n_samples - length + 1, (len(index), 1), generator=self.generator, device=index.device
            )
            batch = self.train.batch(index, start + torch.arange(length, device=index.device))
            yield batch.signals, batch.labels

    def step(self, signals: Tensor, labels: Tensor) -> None:
        """Update the weights on a batch."""
        self.model.train()
        self.optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(self.model(signals), labels).backward()
        self.optimizer.step()
        if self.schedule_left > 1:
            self.schedule.step()
            self.schedule_left -= 1

    @torch.inference_mode()
    def aurocs(self, split: Split) -> Float64[np.ndarray, " label"]:
        """Return each label's AUROC, NaN where it is undefined.

        As published, a record's score is the maximum over windows of 2.5 s that start 1.25 s apart.
        """
        self.model.eval()
        protocol = PROTOCOLS["helme"]
        logits = [protocol.logits(self.model, batch.signals, split.fs) for batch in split.in_order()]
        return auroc(torch.cat(logits).cpu().numpy(), split.labels.cpu().numpy())
