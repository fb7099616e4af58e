"""Random records for measuring speed without real ECGs."""

import numpy as np
import torch

from ecgmtl.data.split import Split


def random_split(device: torch.device, n_records: int = 512) -> Split:
    """Return noise with random labels. The content of the signals does not change the cost of a step."""
    rng = np.random.default_rng(0)
    signals = torch.from_numpy((300 * rng.standard_normal((n_records, 12, 1000))).astype(np.int16))
    labels = (rng.random((n_records, 5)) < 0.3).astype(np.float32)
    names, patients = tuple(map(str, range(n_records))), np.arange(n_records)
    groups = tuple("abcde")
    is_labeled = np.ones(n_records, dtype=bool)
    on_device = torch.from_numpy(labels).to(device)
    return Split(signals.to(device), on_device, groups, {}, {}, names, patients, labels, groups, is_labeled, 100.0)
