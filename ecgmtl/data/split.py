"""Splits of a prepared folder as tensors on a device, from which batches are indexed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int16, Int64, Shaped
from torch import Tensor

from data_prep.preprocess import Preprocess
from data_prep.store.manifest import StoreError
from data_prep.units import MICROVOLTS
from ecgmtl.data.batch import Batch
from ecgmtl.metrics.ranking import has_both

if TYPE_CHECKING:  # a store needs pandas, which the modules of a checkpoint do without
    from data_prep.store.open import Store

SplitName = Literal["train", "validation", "test"]
AT_A_TIME = 256
"""Number of records that are computed on at a time where nothing is trained."""


@dataclass(frozen=True)
class Split:
    """Records of one split. Signals stay int16 µV, half the memory of float32 mV, until a batch is indexed."""

    signals: Int16[Tensor, "record lead time"]
    labels: Float[Tensor, "record label"]
    label_names: tuple[str, ...]
    auxiliary_labels: dict[str, Tensor]
    """Further labels of the same records, by label set."""
    auxiliary_label_names: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    patients: Int64[np.ndarray, " record"]
    groups: Float[np.ndarray, "record group"]
    """Diagnostic superclasses by which reconstruction is reported, or the labels where there are none."""
    group_names: tuple[str, ...]
    labeled: Bool[np.ndarray, " record"]
    """True where a record's labels may be trained on."""
    fs: float
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    """Columns of the record table beside the labels, by name: age, sex, heart axis, words of the report, …"""
    targets: dict[str, Float[Tensor, "record _"]] = field(default_factory=dict)
    """Targets by task, of tasks that learn neither signals nor labels; NaN where a record has no value."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        return self.signals.device

    @property
    def n_samples(self) -> int:
        return int(self.signals.shape[-1])

    def batch(self, index: Int64[Tensor, " batch"], positions: Int64[Tensor, "batch time"] | None = None) -> Batch:
        """Return the records at `index`, in mV, or only their samples at `positions`."""
        signals = self.signals[index]
        if positions is not None:
            signals = signals.gather(2, positions[:, None, :].expand(-1, signals.shape[1], -1))
        auxiliary = {name: labels[index] for name, labels in self.auxiliary_labels.items()}
        targets = {name: values[index] for name, values in self.targets.items()}
        return Batch(signals.float() / MICROVOLTS, self.labels[index], auxiliary, targets)

    def in_order(self, size: int = AT_A_TIME) -> Iterator[Batch]:
        """Yield all records, uncropped, in batches of at most `size`."""
        for index in torch.arange(len(self), device=self.device).split(size):
            yield self.batch(index)

    def select(self, kept: np.ndarray) -> "Split":
        """Return the records for which `kept` is true."""
        rows = torch.from_numpy(np.flatnonzero(kept)).to(self.device)
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return replace(
            self,
            signals=self.signals[rows],
            labels=self.labels[rows],
            auxiliary_labels={name: labels[rows] for name, labels in self.auxiliary_labels.items()},
            names=names,
            patients=self.patients[kept],
            groups=self.groups[kept],
            labeled=self.labeled[kept],
            columns={name: values[kept] for name, values in self.columns.items()},
            targets={name: values[rows] for name, values in self.targets.items()},
        )

    def sample_patients(
        self, share: float, seed: tuple[int, ...], among: Bool[np.ndarray, " record"] | None = None
    ) -> Bool[np.ndarray, " record"]:
        """Sample a fraction of the patients, at least one, and return which records are theirs.

        among: the records to sample from; all where it is None.
        """
        usable = np.ones(len(self), dtype=bool) if among is None else among
        patients = np.unique(self.patients[usable])
        sample = np.random.default_rng(seed).permutation(patients)[: max(1, round(share * len(patients)))]
        return np.isin(self.patients, sample) & usable


def load_split(
    store: "Store",
    split: SplitName,
    labels: str,
    auxiliary_labels: tuple[str, ...] = (),
    device: str | torch.device = "cpu",
) -> Split:
    """Load the records of one split onto a device.

    Raises:
        StoreError: the store has no record of this split.
    """
    rows = store.rows_of(split)
    if not len(rows):
        raise StoreError(no_record(store, split))
    grouping = "superdiagnostic" if "superdiagnostic" in store.manifest["label_sets"] else labels
    table = store.records.iloc[rows]

    def truth(name: str) -> np.ndarray:
        return store.labels(name)[rows].astype(np.float32)

    def on_device(name: str) -> Tensor:
        return torch.from_numpy(truth(name)).to(device)

    return Split(
        signals=torch.from_numpy(store.read(rows)).to(device),
        labels=on_device(labels),
        label_names=store.label_names(labels),
        auxiliary_labels={name: on_device(name) for name in auxiliary_labels},
        auxiliary_label_names={name: store.label_names(name) for name in auxiliary_labels},
        names=tuple(table["name"].astype(str)),
        patients=np.unique(table["patient_id"].to_numpy(), return_inverse=True)[1].astype(np.int64),
        groups=truth(grouping),
        group_names=store.label_names(grouping),
        labeled=np.ones(len(rows), dtype=bool),
        fs=float(store.manifest["preprocess"]["fs"]),
        columns={str(name): table[name].to_numpy() for name in table if name not in store.manifest["label_sets"]},
    )


def no_record(store: "Store", split: SplitName) -> str:
    """Return what a store has instead of a split, and what would do."""
    counts = ", ".join(f"{name} {n}" for name, n in store.records["split"].value_counts().items())
    usable = store.records[store.records["split"] != "test"]
    folds = sorted(usable["fold"].dropna().unique()) if "fold" in usable else []
    remedy = f"prepare records whose column split says {split}"
    if split == "validation" and len(folds) > 1:
        remedy = f"set validation_fold to one of its folds, {', '.join(f'{fold:g}' for fold in folds)}, or {remedy}"
    return f"{store.path}: no record of the split '{split}'; it has {counts}. To have some, {remedy}."


def open_for(path: Path, preprocess: Preprocess, validation_fold: int | None = None) -> "Store":
    """Open the store at `path` and check that it was prepared with these settings. A band is filtered on reading.

    Raises:
        StoreError: the store was prepared with other settings.
        StoreError: the folder is not a store, or is damaged.
    """
    from data_prep.store.open import open_store

    store = open_store(path).through(preprocess.band)
    wanted = json.loads(json.dumps(asdict(preprocess)))
    for key, value in store.manifest["preprocess"].items():
        if value != wanted.get(key):
            raise StoreError(
                f"{path} was prepared with {key} {value}, but this config asks for {wanted.get(key)}; "
                f"prepare it again with the config's settings, or train with --set preprocess.{key}={value}."
            )
    return store if validation_fold is None else split_anew(store, validation_fold)


def split_anew(store: "Store", validation_fold: int) -> "Store":
    """Return the same records with another validation fold. The test split stays.

    Raises:
        StoreError: no record outside the test split is of this fold, or one of its patients is in another fold too.
    """
    records = store.records.copy()
    usable = records["split"] != "test"
    kept_out = usable & (records["fold"] == validation_fold)
    if not kept_out.any():
        folds = ", ".join(f"{fold:g}" for fold in sorted(records.loc[usable, "fold"].dropna().unique())) or "none"
        raise StoreError(
            f"validation_fold {validation_fold}: {store.path} has no such fold to train or validate on; it has {folds}."
        )
    patients = records["patient_id"]
    shared = set(patients[kept_out]) & set(patients[usable & ~kept_out])
    if shared:
        raise StoreError(
            f"validation_fold {validation_fold}: {len(shared)} of {patients[kept_out].nunique()} patients of this fold "
            f"in {store.path} have records in other folds too, so the model would be validated on patients of its "
            f"training split. Give each patient one fold and prepare the records again."
        )
    records.loc[usable, "split"] = "train"
    records.loc[kept_out, "split"] = "validation"
    return replace(store, records=records)


def require_both_classes(split: Split, name: str) -> None:
    """Raise StoreError if no label has both positives and negatives among the labeled records."""
    labels = split.labels[torch.from_numpy(split.labeled).to(split.device)].cpu().numpy()
    refuse_one_class(labels, split.label_names, name, "Split the records differently, or train stages without it.")


def refuse_one_class(
    labels: Shaped[np.ndarray, "record label"], label_names: Sequence[str], split: str, remedy: str
) -> None:
    """Raise StoreError with a remedy if no label has both positives and negatives."""
    if has_both(labels).any():
        return
    counts = ", ".join(f"{name} {n:.0f}" for name, n in zip(label_names, labels.sum(axis=0), strict=True))
    raise StoreError(
        f"Each label belongs to all records or to none in the split '{split}' ({len(labels)} records; with the label: "
        f"{counts}), so classification can be neither trained nor evaluated. {remedy}"
    )


def lead_statistics(split: Split, chunk: int = 1024) -> tuple[Float[Tensor, "lead 1"], Float[Tensor, "lead 1"]]:
    """Compute the mean and standard deviation of each lead over all samples of a split, in mV."""
    n_leads = split.signals.shape[1]
    total = torch.zeros(n_leads, dtype=torch.float64, device=split.device)
    squares = torch.zeros_like(total)
    for part in split.signals.split(chunk):
        values = part.double()
        total += values.sum(dim=(0, 2))
        squares += values.square().sum(dim=(0, 2))
    n_values = len(split) * split.n_samples
    mean = total / n_values
    std = (squares / n_values - mean.square()).clamp(min=1.0).sqrt()  # at least 1 µV, to divide by for a flat lead
    return (mean / MICROVOLTS).float()[:, None], (std / MICROVOLTS).float()[:, None]
