"""Measurements: rhythm, and times and voltages of the waves in each lead, measured on the record itself."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from data_prep.store.manifest import LOST_VOLTAGE
from ecgmtl.data.split import Split
from ecgmtl.model.forest.measurements import LEAST_MV, count_columns, in_rows, measure
from ecgmtl.tasks.base import LossInput, ModelFacts, Targets
from ecgmtl.tasks.columns import ElementTask

LIMIT = 5.0
"""Largest standardized target in both directions. What lies further out is mostly a wave that was not found."""
IQR_OF_NORMAL = 1.349
"""Interquartile range of a standard normal distribution."""
UNTRAINED = 0.4247
"""Mean smooth L1 loss of an output of 0 for targets from a standard normal distribution."""


class Measurements(ElementTask):
    """Smooth L1 loss of the standardized measurements; values that could not be measured are left out.

    Each is standardized with the median and the interquartile range of the training split. A record whose voltage scale
    was lost has no targets.
    """

    part: ClassVar[str] = "measurements"

    @property
    def lacks_targets(self) -> str:
        return f"to measure: none has a heartbeat and its voltage scale; leave {self.name} out"

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> nn.Module:  # noqa: ARG002
        return facts.classifier.build(n_features, count_columns())

    def encode(self, train: Split, validation: Split) -> Targets:
        measured = [measure_split(split) for split in (train, validation)]
        center, scale = robust_statistics(measured[0])
        first, second = (((rows - center) / scale).clip(-LIMIT, LIMIT).astype(np.float32) for rows in measured)
        return torch.from_numpy(first), torch.from_numpy(second)

    def error(self, output: Float[Tensor, " present"], target: Float[Tensor, " present"]) -> Tensor:
        return F.smooth_l1_loss(output, target, reduction="none")

    def untrained(self, batch_size: int) -> float:  # noqa: ARG002
        return UNTRAINED

    def measure(self, inputs: LossInput) -> dict[str, float]:
        output, target = self.output_and_target(inputs)
        return {"measurements_mae_sd": float((output - target).abs().sum())}


def measure_split(split: Split) -> Float[np.ndarray, "record measurement"]:
    """Measure all records; NaN where there was nothing to measure."""
    rows = torch.cat([in_rows(known_values(batch.signals, split.fs)) for batch in split.in_order()])
    measured = rows.double().cpu().numpy()
    lost = split.columns.get(LOST_VOLTAGE, np.full(len(split), ""))
    measured[lost != ""] = np.nan
    return measured


@torch.no_grad()
def known_values(signals: Float[Tensor, "batch 12 time"], fs: float) -> dict[str, Float[Tensor, "batch _"]]:
    """Measure signals in mV. `measure` writes 0 where there is nothing to measure, and this NaN.

    A value of one lead needs a beat and that lead, a value of all leads a beat and every lead, and intervals need two
    beats.
    """
    values = measure(signals, None, fs)
    recorded = values["rms"] >= LEAST_MV
    beat, two_beats = values["beats_a_second"] > 0, values["rr_mean"] > 0

    def is_known(name: str, value: Tensor) -> Tensor:
        if name == "rms":
            return torch.ones_like(recorded)
        if name == "beats_a_second":
            return beat
        if name.startswith("rr_"):
            return two_beats
        return beat & (recorded if value.shape[1] > 1 else recorded.all(dim=1, keepdim=True))

    return {name: value.masked_fill(~is_known(name, value), torch.nan) for name, value in values.items()}


def robust_statistics(
    measured: Float[np.ndarray, "record measurement"],
) -> tuple[Float[np.ndarray, " measurement"], Float[np.ndarray, " measurement"]]:
    """Return the median and the robust standard deviation of each measurement, over the records that have it.

    Where more than half of the records have the same value, the scale is the standard deviation. It is NaN for a
    measurement that does not vary or that no record has.
    """
    center, scale = np.full((2, measured.shape[1]), np.nan)
    for index, column in enumerate(measured.T):
        known = column[np.isfinite(column)]
        if not len(known):
            continue
        low, center[index], high = np.quantile(known, [0.25, 0.5, 0.75])
        spread = (high - low) / IQR_OF_NORMAL or known.std()
        scale[index] = spread or np.nan
    return center, scale
