"""Write the table of docs/quality.md on `unlike-training`: `python docs/make/unlike_training.py PTBXL100 OTHERS`.

PTBXL100 is a folder of PTB-XL with records at 100 Hz. The training records are those of folds 1 to 7, the bound is
chosen on fold 8, and the table shows fold 9: as it is, and with a fault in each record, made on purpose. OTHERS is a
folder of 12-lead ECGs from other hospitals.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from page import fill
from sklearn.metrics import roc_auc_score

from data_prep import Preprocess, Record, RecordError, read_record
from data_prep.leads import STANDARD_LEADS
from data_prep.perturb import swap_arms
from data_prep.quality import Severity, has_failure
from data_prep.readers import find_files
from data_prep.sources.ptbxl import DATABASE
from data_prep.synthetic.folder import LEADS
from data_prep.synthetic.waveform import synthesize
from ecgmtl.metrics.typicality import Typicality, fit_typicality

PAGE = Path(__file__).parents[1] / "quality.md"
MARK = "unlike_training.py"
PREPROCESS = Preprocess(band=(0.5, 40.0))
"""Preprocessing of the bundled model."""
N_ARTIFICIAL = 200
SEED = 0

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Function of a record's signal in mV, (time, lead)."""


class Group(NamedTuple):
    """Records of one row."""

    scores: np.ndarray
    """Score of each record that has a signal."""
    stopped: np.ndarray
    """Whether another finding forbids a decision on it."""
    n_refused: int
    """Number of records without a signal, which are failures."""

    @property
    def size(self) -> int:
        return len(self.scores) + self.n_refused


def noise(x: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Return pink noise of 0.2 mV in the electrodes."""
    spectrum = np.fft.rfft(chance.standard_normal((len(x), 9)), axis=0)
    spectrum /= np.sqrt(np.arange(1, len(spectrum) + 1))[:, None]
    electrodes = np.fft.irfft(spectrum, len(x), axis=0)
    electrodes *= 0.2 / electrodes.std(axis=0)
    right, left, foot = electrodes[:, :3].T
    center = (right + left + foot) / 3
    limbs = [left - right, foot - right, foot - left]
    augmented = [1.5 * (electrode - center) for electrode in (right, left, foot)]
    return np.stack([*limbs, *augmented, *(electrodes[:, 3:].T - center)], axis=1)


def in_other_order(x: np.ndarray, chance: np.random.Generator, first: int = 0) -> np.ndarray:
    """Return the leads from `first` on in another order."""
    while True:
        order = chance.permutation(np.arange(first, 12))
        if (order != np.arange(first, 12)).any():
            return x[:, [*range(first), *order]]


def at_rate(x: np.ndarray, factor: float) -> np.ndarray:
    """Return the signal as if it had been sampled at `factor` times the stated rate, repeated to its length."""
    n_samples = len(x)
    times = np.arange(int((n_samples - 1) / factor) + 1) * factor
    stretched = np.stack([np.interp(times, np.arange(n_samples), lead) for lead in x.T], axis=1)
    return np.concatenate([stretched, 1.001 * stretched])[:n_samples]  # an exact copy is another fault


FAULTS: dict[str, Change] = {
    "pink noise, no heart": noise,
    "leads in a different order": in_other_order,
    "chest leads in a different order": lambda x, chance: in_other_order(x, chance, 6),
    "chest leads reversed": lambda x, _: x[:, [*range(6), *range(11, 5, -1)]],
    "arms swapped": lambda x, _: swap_arms(x.T).T,
    "upside down": lambda x, _: -x,
    "a fifth of the size": lambda x, _: x / 5,
    "half the size": lambda x, _: x / 2,
    "five times the size": lambda x, _: 5 * x,
    "read at half the rate": lambda x, _: at_rate(x, 0.5),
    "read at twice the rate": lambda x, _: at_rate(x, 2.0),
    "read at 4/5 of the rate": lambda x, _: at_rate(x, 0.8),
    "backward in time": lambda x, _: x[::-1],
    "V2 flat": lambda x, _: np.where(np.arange(12) == STANDARD_LEADS.index("V2"), 0, x),
    "each lead z-scored": lambda x, _: (x - x.mean(axis=0)) / x.std(axis=0),
    "the first 5 s": lambda x, _: x[: len(x) // 2],
}


def examine(records: list[Record], typicality: Typicality) -> Group:
    """Score records and note where other checks stop them."""
    examined = [PREPROCESS.examine(record) for record in records]
    usable = [result for result in examined if result.signal is not None and not has_failure(result.findings)]
    signals = np.stack([result.signal for result in usable]) if usable else np.empty((0, 12, 1000), np.float32)
    stopped = [any(f.severity is Severity.NO_DECISION for f in result.findings) for result in usable]
    scores = typicality.scores(signals).values if usable else np.empty(0)
    return Group(scores, np.array(stopped, bool), len(records) - len(usable))


def line(name: str, group: Group, plain: Group) -> str:
    """Return a row of the table in Markdown."""
    unlike = group.scores > 1
    before = group.n_refused + int(group.stopped.sum())
    after = group.n_refused + int((group.stopped | unlike).sum())
    truth = np.repeat([0, 1], [len(plain.scores), len(group.scores)])
    area = roc_auc_score(truth, np.concatenate([plain.scores, group.scores])) if len(group.scores) else None
    detected = "all refused" if area is None else f"{int(unlike.sum())} of {len(unlike)}"
    shown = "" if area is None or group is plain else f"{area:.3f}"
    return f"| {name} | {shown} | {detected} | {share(before, group.size)} | {share(after, group.size)} |"


def share(count: int, size: int) -> str:
    return f"{100 * count / size:.1f} %"


def artificial() -> Iterator[Record]:
    for seed in range(N_ARTIFICIAL):
        ecg = synthesize(["NORM", "SR"], 500, 10.0, np.random.default_rng(seed))
        yield Record(f"artificial {seed}", (ecg / 1000).astype(np.float32), 500.0, LEADS)


def from_elsewhere(folder: Path) -> Iterator[Record]:
    """Yield the readable records of the other hospitals."""
    for path in find_files([folder]):
        try:
            record = read_record(path) if isinstance(path, Path) else None
        except RecordError:
            continue
        if record is not None and PREPROCESS.examine(record).signal is not None:
            yield record


def main(folder: Path, others: Path) -> None:
    table = pd.read_csv(folder / DATABASE).query("strat_fold < 10")
    records = np.array([read_record(folder / f"{file}.hea") for file in table["filename_lr"]], object)
    folds = table["strat_fold"].to_numpy()
    signals = [np.stack([PREPROCESS(r).signal for r in records[kept]]) for kept in (folds < 8, folds == 8)]
    typicality = fit_typicality(signals[:1], signals[1:], PREPROCESS.fs)
    assert typicality is not None  # noqa: S101, there are enough records
    plain = examine(list(records[folds == 9]), typicality)
    paced = table["scp_codes"].str.contains("'PACE'").to_numpy() & (folds >= 8)
    lines = [
        line("none", plain, plain),
        line("none; paced hearts", examine(list(records[paced]), typicality), plain),
        line("none; from other hospitals", examine(list(from_elsewhere(others)), typicality), plain),
        line("artificial ECGs", examine(list(artificial()), typicality), plain),
    ]
    for name, change in FAULTS.items():
        chance = np.random.default_rng(SEED)
        faulty = [
            replace(r, signal=np.ascontiguousarray(change(r.signal, chance), np.float32)) for r in records[folds == 9]
        ]
        lines.append(line(name, examine(faulty, typicality), plain))
    head = "| fault | AUROC | `unlike-training` | no decision without it | with it |"
    fill(PAGE, MARK, "\n".join([head, "|---|--:|--:|--:|--:|", *lines]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
