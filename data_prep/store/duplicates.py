"""Prepared records with the same samples as another record, which leak between splits if theirs differ."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from jaxtyping import Int16, Shaped

from data_prep.sources.tables import SourceFinding


def digest_of(samples: Shaped[np.ndarray, "lead time"]) -> bytes:
    """Return a digest of samples. Two records with the same digest are the same ECG."""
    return hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).digest()


def with_same_samples(digests: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each record that has the digest of an earlier one, and the name of the first such."""
    first: dict[bytes, str] = {}
    for name, digest in digests:
        if (earlier := first.setdefault(digest, name)) != name:
            yield name, earlier


def duplicates(signals: Int16[np.ndarray, "record lead time"], records: pd.DataFrame) -> Iterator[SourceFinding]:
    """Yield a finding for each record with the same samples as an earlier one. `records` has a row for each signal."""
    split_of = dict(zip(records["name"], records["split"], strict=True))
    for name, earlier in with_same_samples(zip(records["name"], map(digest_of, signals), strict=True)):
        same = f"{name} ({split_of[name]}) holds the same samples as {earlier} ({split_of[earlier]})"
        if split_of[name] == split_of[earlier]:
            yield SourceFinding("duplicate", name, f"{same}.")
        else:
            yield SourceFinding("duplicate in another split", name, f"{same}; remove one, or put both into one split.")
