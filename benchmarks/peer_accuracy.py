"""How well the peer reads a validation split, by its own recipe to its end; to be held beside `ecgmtl evaluate`.

    python benchmarks/peer_accuracy.py --data data/ptbxl --labels all --seeds 0 1 2

Macro AUROC over all labels, and over those that are frequent among the validation records, as `ecgmtl evaluate` counts.
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
    macro: float
    frequent: float
    n_frequent: int

    def __str__(self) -> str:
        frequent = f"of the {self.n_frequent} labels with ≥ {FREQUENT} positives {self.frequent:.4f}"
        return f"macro AUROC {self.macro:.4f}, {frequent}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder that `ecgmtl data prepare` made")
    parser.add_argument("--labels", default="superdiagnostic")
    parser.add_argument("--fold", type=int, help="to validate on, instead of the folder's own split")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    config = parse_config({"labels": given.labels, "validation_fold": given.fold}, "the peer")
    train, validation = splits(config, given.data)
    for seed in given.seeds:
        print(f"seed {seed}: {learn(train, validation, seed, given.epochs)}", flush=True)


def learn(train: Split, validation: Split, seed: int, epochs: int) -> Scores:
    """The last epoch's scores, which is what counts there."""
    peer = Peer(train, seed, epochs)
    for number in range(1, epochs + 1):
        for signals, labels in peer.epoch():
            peer.step(signals, labels)
        if number % 10 == 0:
            print(f"  epoch {number}: {score(peer, validation)}", flush=True)
    return score(peer, validation)


def score(peer: Peer, validation: Split) -> Scores:
    found = peer.aurocs(validation)
    frequent = found[(validation.labels.sum(dim=0) >= FREQUENT).cpu().numpy()]
    return Scores(float(mean_defined(found)), float(mean_defined(frequent)), len(frequent))


if __name__ == "__main__":
    main()
