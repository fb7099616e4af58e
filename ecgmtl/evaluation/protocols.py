"""Evaluation protocols: which records count, in which windows, and how windows become one probability.

Figures of different protocols must not be compared: windows alone change macro AUROC by about 0.01 on PTB-XL.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from data_prep.errors import UserError
from ecgmtl.data.split import AT_A_TIME, Split
from ecgmtl.model.network import MAIN, MultiTaskModel


class ProtocolError(UserError):
    """An unknown protocol. The message lists the known ones."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One evaluation protocol."""

    name: str
    description: str
    window_seconds: float | None = None
    """Length of the windows that the model reads; None for whole records."""
    stride_seconds: float = math.inf
    """Time from the start of one window to the start of the next."""
    aggregate: Literal["max", "mean"] = "mean"
    """Aggregation of the probabilities of a record's windows."""
    unlabeled: Literal["keep", "drop"] = "keep"
    """Treatment of records without a label of the set."""

    def windows(self, signals: Float[Tensor, "batch lead time"], fs: float) -> Float[Tensor, "batch window lead part"]:
        """Return all windows that lie within the record, or the whole record where it is no longer than one."""
        n_samples = signals.shape[-1]
        length = n_samples if self.window_seconds is None else round(self.window_seconds * fs)
        if length >= n_samples:
            return signals[:, None]
        return signals.unfold(-1, length, round(self.stride_seconds * fs)).transpose(1, 2)

    def logits(
        self,
        model: MultiTaskModel,
        signals: Float[Tensor, "batch lead time"],
        fs: float,
        mask: Bool[Tensor, " basis"] | None = None,
    ) -> Float64[Tensor, "batch label"]:
        """Compute the logit of each record's aggregated probability.

        signals: in mV; mask: the independent leads that are missing.
        """
        windows = self.windows(signals, fs)
        batch, n_windows = windows.shape[:2]
        if mask is None or not mask.any():
            logits = model.classify(windows.flatten(0, 1))
        else:
            where = mask[None, :, None].expand(batch * n_windows, -1, windows.shape[-1])
            logits = model(windows.flatten(0, 1), where, (MAIN,))[MAIN]
        logits = logits.double().view(batch, n_windows, -1)
        if n_windows == 1:
            return logits[:, 0]
        if self.aggregate == "max":
            return logits.amax(dim=1)  # the largest probability has the largest logit
        # log of the mean of p, less that of 1 - p: exact where p itself would round to 0 or 1
        log_p = torch.nn.functional.logsigmoid(torch.stack([logits, -logits])).logsumexp(dim=2)
        return log_p[0] - log_p[1]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="whole", description="whole records, all of them"),
        Protocol(
            name="helme",
            description="maximum over windows of 2.5 s, 1.25 s apart; records without a label of the set are left out "
            "(Strodthoff et al., 2021)",
            window_seconds=2.5,
            stride_seconds=1.25,
            aggregate="max",
            unlabeled="drop",
        ),
        Protocol(
            name="fm-bench",
            description="mean over windows of 2.5 s side by side; all records (ECG foundation model benchmark, 2025)",
            window_seconds=2.5,
            stride_seconds=2.5,
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of this name.

    Raises:
        ProtocolError: no protocol has this name.
    """
    if name not in PROTOCOLS:
        raise ProtocolError(f"no protocol '{name}'; choose one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


@torch.inference_mode()
def infer_logits(
    model: MultiTaskModel,
    split: Split,
    protocol: Protocol = PROTOCOLS["whole"],
    batch_size: int = AT_A_TIME,
    advance: Callable[[int], None] = lambda _: None,
) -> Float64[np.ndarray, "record label"]:
    """Compute the logits of all records, in their order. The model is put into eval mode.

    `advance` is called with the number of further records done.
    """
    model.eval()
    parts = []
    for batch in split.in_order(batch_size):
        parts.append(protocol.logits(model, batch.signals, split.fs).cpu())
        advance(len(parts[-1]))
    logits: Float64[np.ndarray, "record label"] = torch.cat(parts).numpy()
    return logits
