"""Boosted trees (Friedman, 2001) on ECG measurements, as tensors of a model.

There are two sets of trees. Trees that use voltages must not be trained on records that lost their voltage scale, and
are of no use for those. Such records are recognized: their leads are all of one size, or they are exactly at the level
to which they were scaled in preparation.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int16
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from data_prep.quality.lost_voltage import ALIKE_FILTERED, FEWEST, TYPICAL_MV
from ecgmtl.metrics.sigmoid import logit
from ecgmtl.model.forest.measurements import in_rows, measure
from ecgmtl.model.heads import RAREST
from ecgmtl.settings import Settings

TENSORS = ("feature", "threshold", "child", "value", "start")
KINDS = ("kept", "lost")
"""Sets of trees in order: for records that kept their voltages, and for those that lost them."""
AT_LEVEL = 0.03
"""Relative distance from the typical level within which a record was scaled to it: a filter may follow the scaling. One
record in thirty that kept its voltage is as near by chance, and is classified almost as well by the other trees."""


class ForestSettings(Settings):
    """Settings of the boosted trees."""

    n_trees: PositiveInt = 120
    """Number of trees for each label."""
    n_leaves: int = Field(8, ge=2, le=1000)
    """Largest number of leaves of a tree."""
    lr: float = Field(0.06, gt=0, le=1)
    """Learning rate: factor on each tree's output."""
    weight: float = Field(0.5, gt=0)
    """Weight of the trees' logits, which are added to the network's."""


class Forest(nn.Module):
    """Boosted trees whose logit of a label is a weighted sum over the label's trees for the record's kind."""

    feature: Tensor
    threshold: Tensor
    child: Tensor
    value: Tensor
    start: Tensor

    def __init__(self, trees: dict[str, Tensor], fs: float) -> None:
        """Hold the tensors of the trees, by kind, label, tree and node.

        trees: `feature` is the measurement that a node compares; `threshold` is the value up to which the first of its
            `child` nodes follows, and above which the second; `value` is what a leaf adds, which is its own child;
            `start` is each label's logit before the first tree.
        """
        super().__init__()
        self.fs, self.depth = fs, depth_of(trees["child"])
        for name in TENSORS:
            self.register_buffer(name, trees[name])

    @classmethod
    def of_state(cls, state: dict[str, Tensor], fs: float) -> "Forest | None":
        """Build the forest whose tensors a model's state dict has; None where it has none.

        Raises:
            ValueError: the tensors are not trees.
        """
        trees = {name: state[f"forest.{name}"] for name in TENSORS if f"forest.{name}" in state}
        if not trees:
            return None
        require_trees(trees)
        return cls(trees, fs)

    def forward(
        self, signals: Float[Tensor, "batch 12 time"], mask: Bool[Tensor, "batch basis time"] | None = None
    ) -> Float[Tensor, "batch label"]:
        """Compute the logits of signals in mV."""
        measurements = measure(signals, mask, self.fs)
        measured, (_, n_labels, n_trees, n_nodes) = in_rows(measurements), self.value.shape
        tree = torch.arange(n_labels * n_trees, device=measured.device)
        root = n_nodes * (tree + len(tree) * lost_voltage(measurements["rms"])[:, None].long())
        feature, threshold, child = self.feature.flatten(), self.threshold.flatten(), self.child.flatten(0, 3)
        node = root
        for _ in range(self.depth):
            beyond = measured.gather(1, feature[node].long()) > threshold[node]
            node = root + torch.where(beyond, child[:, 1][node].long(), child[:, 0][node].long())
        return self.start + self.value.flatten()[node].unflatten(1, (n_labels, n_trees)).sum(dim=-1)


def require_trees(trees: dict[str, Tensor]) -> None:
    """Raise ValueError unless the tensors have the types and shapes that `grow` gives, and every child exists."""
    shape = tuple(trees["feature"].shape) if "feature" in trees else ()
    if len(shape) != 4 or shape[0] != len(KINDS):
        raise ValueError(f"forest.feature should have {len(KINDS)} × labels × trees × nodes elements; found {shape}")
    half, single = torch.int16, torch.float32
    wanted = {"feature": (half, shape), "threshold": (single, shape), "child": (half, (*shape, 2))}
    wanted |= {"value": (single, shape), "start": (single, shape[1:2])}
    for name, (kind, size) in wanted.items():
        actual = (trees[name].dtype, tuple(trees[name].shape)) if name in trees else None
        if actual != (kind, size):
            raise ValueError(f"forest.{name} should be {kind} of {size}; found {actual}")
    if trees["feature"].lt(0).any() or trees["child"].lt(0).any() or trees["child"].ge(shape[-1]).any():
        raise ValueError("forest.feature or forest.child has an index out of range")


def lost_voltage(rms: Float[Tensor, "batch 12"]) -> Bool[Tensor, " batch"]:
    """Return which records lost their voltage scale."""
    level = rms.square().mean(dim=1).sqrt()
    return of_one_size(rms) | ((level - TYPICAL_MV).abs() < AT_LEVEL * TYPICAL_MV)


def of_one_size(rms: Float[Tensor, "batch 12"]) -> Bool[Tensor, " batch"]:
    """Return in which records all leads have one size. Flat and masked leads do not count."""
    moving = rms > 0
    n_moving = moving.sum(dim=1).clamp(min=1)
    mean = rms.sum(dim=1) / n_moving
    variance = ((rms - mean[:, None]).square() * moving).sum(dim=1) / n_moving
    return (n_moving >= FEWEST) & (variance.sqrt() < ALIKE_FILTERED * mean)


def grow(
    measured: dict[str, Float32[np.ndarray, "record measurement"]],
    labels: Bool[np.ndarray, "record label"],
    settings: ForestSettings,
    seed: int,
    fs: float,
    advance: Callable[[], None] = lambda: None,
) -> Forest:
    """Train trees for each kind of record and each label, but none for a label that all records have, or none."""
    grown: list[list[list[np.ndarray]]] = []
    for kind in KINDS:
        grown.append([])
        for truth in labels.T:
            grown[-1].append(grow_label(measured[kind], truth, settings, seed))
            advance()
    shape = (len(KINDS), labels.shape[1], settings.n_trees, 2 * settings.n_leaves - 1)
    feature, threshold, value = np.zeros(shape, np.int16), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    child = np.tile(np.arange(shape[-1], dtype=np.int16)[:, None], (*shape[:-1], 1, 2))
    for kind, label, tree in np.ndindex(shape[:-1]):
        if not grown[kind][label]:
            continue
        nodes = grown[kind][label][tree]
        leaf, at = nodes["is_leaf"].astype(bool), (kind, label, tree, slice(len(nodes)))
        feature[at] = np.where(leaf, 0, nodes["feature_idx"])
        threshold[at] = round_down(nodes["num_threshold"])
        child[at] = np.where(leaf[:, None], child[at], np.stack([nodes["left"], nodes["right"]], axis=-1))
        value[at] = np.where(leaf, settings.weight * nodes["value"], 0.0)
    start = settings.weight * start_at(labels)
    arrays = (feature, threshold, child, value, start)
    return Forest({name: torch.from_numpy(array) for name, array in zip(TENSORS, arrays, strict=True)}, fs)


def grow_label(
    measured: Float32[np.ndarray, "record measurement"],
    truth: Bool[np.ndarray, " record"],
    settings: ForestSettings,
    seed: int,
) -> list[np.ndarray]:
    """Train the trees of one label and return the nodes of each, as scikit-learn keeps them."""
    if truth.all() or not truth.any():
        return []
    from sklearn.ensemble import HistGradientBoostingClassifier  # predictions do without scikit-learn, and begin sooner

    booster = HistGradientBoostingClassifier(
        learning_rate=settings.lr,
        max_iter=settings.n_trees,
        max_leaf_nodes=settings.n_leaves,
        min_samples_leaf=20,
        l2_regularization=5.0,
        max_features=0.2,
        early_stopping=False,
        random_state=seed,
    )
    booster.fit(measured, truth)
    return [tree.nodes for (tree,) in booster._predictors]  # noqa: SLF001  (there is no public way to them)


def start_at(labels: Bool[np.ndarray, "record label"]) -> Float32[np.ndarray, " label"]:
    """Return the logit of each label's prevalence."""
    return logit(labels.mean(axis=0).clip(RAREST, 1 - RAREST)).astype(np.float32)


def round_down(threshold: np.ndarray) -> Float32[np.ndarray, " node"]:
    """Round thresholds down to float32, so that float32 values compare with them exactly as with the float64 ones."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def depth_of(child: Int16[Tensor, "kind label tree node 2"]) -> int:
    """Return the number of comparisons on the longest path from a root to a leaf."""
    children = child.flatten(0, 2).long()
    asks = children[..., 0] != torch.arange(children.shape[1])
    here, depth = torch.zeros_like(asks), 0
    here[:, 0] = True
    while (here & asks).any():
        tree, node = torch.nonzero(here & asks, as_tuple=True)
        here = torch.zeros_like(asks).index_put((tree[:, None], children[tree, node]), torch.tensor(True))
        depth += 1
        if depth > children.shape[1]:
            raise ValueError("forest.child has a cycle")
    return depth
