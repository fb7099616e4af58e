"""Write `data_prep/quality/wrong_rate.json`: `python docs/make/wrong_rate.py PTBXL100 PTBXL500`.

PTBXL100 is a folder of PTB-XL with records at 100 Hz, PTBXL500 one with records at 500 Hz. It is fitted on folds 1 to 8
of the first. The figures in `wrong_rate.py` are printed, too: on each of these folds, fitted on the others, and on fold
9 of both folders.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from data_prep import Preprocess, Record, read_record
from data_prep.filters import resample
from data_prep.leads import BASIS_INDEX, STANDARD_LEADS
from data_prep.quality import CheckInput
from data_prep.quality.wrong_rate import FITTED, RATE, WrongRate, describe, wrong_rates
from data_prep.sources.ptbxl import DATABASE

FOLD = 9
FACTORS = {"as recorded": 1.0, "half": 0.5, "twice": 2.0, "4/5": 0.8}
WRONG = ("half", "twice")
PREPROCESS = Preprocess(fs=RATE)
C = 10.0
"""Inverse of the regression's ridge. Values from 1 to 100 give the same results to within 1 %."""
DIGITS = 7
"""Significant digits of the fitted numbers."""


def records(folder: Path, column: str) -> tuple[list[Record], np.ndarray]:
    """Return the records whose files are there, and their folds."""
    table = pd.read_csv(folder / DATABASE).query(f"strat_fold <= {FOLD}")
    table = table[[(folder / f"{file}.hea").exists() for file in table[column]]]
    return [read_record(folder / f"{file}.hea") for file in table[column]], table["strat_fold"].to_numpy()


def numbers_of(record: Record, factor: float) -> np.ndarray:
    """Return the numbers that describe a record read at `factor` times its rate."""
    signal = resample(np.ascontiguousarray(record.signal.T), record.fs * factor, RATE)[:, : PREPROCESS.n_samples]
    signal = PREPROCESS.level(signal)
    return describe(CheckInput(STANDARD_LEADS, signal, RATE, STANDARD_LEADS, signal, RATE).filtered[BASIS_INDEX])


def fit(plain: np.ndarray, wrong: np.ndarray, factor: float) -> WrongRate:
    """Fit the check for records that were read at 1 / `factor` times their rate."""
    both = np.concatenate([plain, wrong])
    mean, deviation = both.mean(axis=0), both.std(axis=0)
    truth = np.repeat([0, 1], [len(plain), len(wrong)])
    model = LogisticRegression(C=C, max_iter=10_000).fit((both - mean) / deviation, truth)
    weights = model.coef_[0] / deviation
    intercept = float(model.intercept_[0] - weights @ mean)
    return WrongRate(factor, weights, intercept, wrong.mean(axis=0), np.linalg.inv(np.cov(wrong.T)))


def rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def write(rates: list[WrongRate]) -> None:
    """Write what the check reads."""
    fitted = [
        {
            "factor": rate.factor,
            "intercept": rate.intercept,
            "weights": rounded(rate.weights),
            "mean": rounded(rate.mean),
            "precision": [rounded(row) for row in rate.precision],
        }
        for rate in rates
    ]
    FITTED.write_text(json.dumps(fitted, separators=(",", ":")).replace("[", "\n["), encoding="utf-8")


def are_likely(rates: Sequence[WrongRate], numbers: np.ndarray) -> np.ndarray:
    """Return which records probably have a wrong rate, by their numbers."""
    return np.array([any(rate.is_likely(one) for rate in rates) for one in numbers])


def main(folder_100: Path, folder_500: Path) -> None:
    some, folds = records(folder_100, "filename_lr")
    others, others_fold = records(folder_500, "filename_hr")
    last = [record for record, fold in zip(others, others_fold, strict=True) if fold == FOLD]
    numbers = {name: np.stack([numbers_of(r, factor) for r in some]) for name, factor in FACTORS.items()}
    at_500 = {name: np.stack([numbers_of(r, factor) for r in last]) for name, factor in FACTORS.items()}

    def fit_on(chosen: np.ndarray) -> list[WrongRate]:
        plain = numbers["as recorded"][chosen]
        return [fit(plain, numbers[wrong][chosen], 1 / FACTORS[wrong]) for wrong in WRONG]

    learned = folds < FOLD
    write(fit_on(learned))
    wrong_rates.cache_clear()
    without = {fold: fit_on(learned & (folds != fold)) for fold in range(1, FOLD)}
    for name, values in numbers.items():
        left_out = np.concatenate([are_likely(without[fold], values[folds == fold]) for fold in range(1, FOLD)])
        fold_9, high = are_likely(wrong_rates(), values[folds == FOLD]), are_likely(wrong_rates(), at_500[name])
        counts = [f"{mask.sum()} of {len(mask)} ({100 * mask.mean():.1f} %)" for mask in (left_out, fold_9, high)]
        print(name, *counts, sep="   ")  # noqa: T201


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
