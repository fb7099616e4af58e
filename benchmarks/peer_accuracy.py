"""Train the peer with its own recipe and print its scores on the validation split, to compare with `ecgmtl evaluate`.

    python benchmarks/peer_accuracy.py --data data/ptbxl --labels all --seeds 0 1 2

The scores are the macro AUROC over all labels, and over the labels that are frequent in the validation split, by the
same definition as in `ecgmtl evaluate`.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import torch
from peer import EPOCHS, Peer
from reach import splits

from ecgmtl.config.run import parse_config
from ecgmtl.data.split import Split
from ecgmtl.evaluation.classification import FREQUENT
from ecgmtl.metrics.ranking import mean_defined


class Scores(NamedTuple):
    """Macro AUROC over all labels and over the frequent ones."""

    macro: float
    frequent: float
    n_frequent: int

    def __str__(self) -> str:
        frequent = f"over the {self.n_frequent} labels with at least {FREQUENT} positives: {self.frequent:.4f}"
        return f"macro AUROC {self.macro:.4f}; {frequent}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that `ecgmtl data prepare` wrote")
    parser.add_argument("--labels", default="superdiagnostic")
    parser.add_argument("--fold", type=int, help="validation fold, instead of the folder's own split")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = parse_config({"labels": arguments.labels, "validation_fold": arguments.fold}, "the peer")
    train, validation = splits(config, arguments.data)
    for seed in arguments.seeds:
        print(f"seed {seed}: {train_peer(train, validation, seed, arguments.epochs)}", flush=True)


def train_peer(train: Split, validation: Split, seed: int, epochs: int) -> Scores:
    """Train the peer and return the scores of its last epoch, as published."""
    peer = Peer(train, seed, epochs)
    for number in range(1, epochs + 1):
        for signals, labels in peer.epoch():
            peer.step(signals, labels)
        if number % 10 == 0:
            print(f"  epoch {number}: {score(peer, validation)}", flush=True)
    return score(peer, validation)


def score(peer: Peer, validation: Split) -> Scores:
    """Return the peer's scores on the validation split."""
    aurocs = peer.aurocs(validation)
    frequent = aurocs[(validation.labels.sum(dim=0) >= FREQUENT).cpu().numpy()]
    return Scores(float(mean_defined(aurocs)), float(mean_defined(frequent)), len(frequent))


if __name__ == "__main__":
    main()
