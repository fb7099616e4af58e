"""Prepared records that hold the same samples as another one, which leaks between splits if theirs differ."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Int16

from data_prep.sources.tables import SourceFinding


def duplicates(signals: Int16[np.ndarray, "record lead time"], records: pd.DataFrame) -> Iterator[SourceFinding]:
    """Yield a finding for each record with the same samples as an earlier one. `records` has a row for each signal."""
    first: dict[bytes, tuple[str, str]] = {}
    for signal, name, split in zip(signals, records["name"], records["split"], strict=True):
        digest = hashlib.blake2b(np.ascontiguousarray(signal).data, digest_size=16).digest()
        earlier, its_split = first.setdefault(digest, (name, split))
        if earlier == name:
            continue
        message = f"{name} ({split}) holds the same samples as {earlier} ({its_split})."
        if split == its_split:
            yield SourceFinding("duplicate", name, message)
        else:
            message = message.removesuffix(".") + "; remove one, or put both into one split."
            yield SourceFinding("duplicate in another split", name, message)
