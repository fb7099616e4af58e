"""Write the table of docs/quality.md: `python docs/make/quality.py PTBXL100 PTBXL500`.

PTBXL100 is a folder of PTB-XL with records at 100 Hz, PTBXL500 one with records at 500 Hz. Fold 9 of both is used: as
it is, and with a fault in each record, made on purpose.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from page import fill

from data_prep import Preprocess, Record, read_record
from data_prep.filters import resample
from data_prep.leads import ELECTRODES, STANDARD_LEADS, electrode_algebra
from data_prep.perturb import swap_arms
from data_prep.sources.ptbxl import DATABASE
from data_prep.synthetic.waveform import synthesize

FOLD = 9
PAGE = Path(__file__).parents[1] / "quality.md"
V2, V3, V4, V6 = (STANDARD_LEADS.index(lead) for lead in ("V2", "V3", "V4", "V6"))
MARK = "quality.py"


class Row(NamedTuple):
    """A row of the table: a code, and the fault that is made on purpose."""

    code: str
    meaning: str
    severity: str
    bound: str
    fault: str
    make: Callable[[np.ndarray, float], np.ndarray]
    """Function of a record's signal in mV, (time, lead), and its rate."""
    at_500: bool = False


def changed(signal: np.ndarray, lead: int, values: np.ndarray) -> np.ndarray:
    signal = signal.copy()
    signal[:, lead] = values
    return signal


def added(lead: int, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda x, fs: changed(x, lead, x[:, lead] + make(np.arange(len(x)) / fs))


def noise(time: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(len(time))


def clip(x: np.ndarray, _fs: float) -> np.ndarray:
    middle = np.median(x, axis=0)
    lead = int(np.abs(x - middle).max(axis=0).argmax())
    limit = 0.5 * np.abs(x[:, lead] - middle[lead]).max()
    return changed(x, lead, np.clip(x[:, lead], middle[lead] - limit, middle[lead] + limit))


def with_gap(x: np.ndarray, _fs: float) -> np.ndarray:
    return changed(x, V2, np.where(np.arange(len(x)) % 500 == 100, np.nan, x[:, V2]))


def swap(x: np.ndarray, *electrodes: str) -> np.ndarray:
    rows = [ELECTRODES.index(electrode) for electrode in electrodes]
    potentials = x @ np.linalg.pinv(electrode_algebra()).T
    potentials[:, rows] = potentials[:, rows[::-1]]
    return potentials @ electrode_algebra().T


def delayed(x: np.ndarray, n_samples: int) -> np.ndarray:
    return np.concatenate([x[:, :6], np.roll(x[:, 6:9], n_samples, axis=0), x[:, 9:]], axis=1)


def interrupted(x: np.ndarray, fs: float) -> np.ndarray:
    return np.where((np.arange(len(x)) // int(fs) == 5)[:, None], 0, x)


def standing_still(x: np.ndarray, fs: float) -> np.ndarray:
    weak = 0.01 * np.random.default_rng(0).standard_normal(x.shape)
    weak[:, 2:6] = weak[:, :2] @ np.array([[-1, -0.5, 1, -0.5], [1, -0.5, -0.5, 1]])
    start = int(3 * fs)
    return np.concatenate([x[:start], x[start] + weak[start:]])


def wrapped(x: np.ndarray, _fs: float) -> np.ndarray:
    """Let chest leads continue from the smallest value above 0.8 times the largest."""
    limit = 0.8 * np.abs(x[:, 6:]).max()
    return np.concatenate([x[:, :6], (x[:, 6:] + limit) % (2 * limit) - limit], axis=1)


def joined(x: np.ndarray, fs: float) -> np.ndarray:
    other = synthesize(["IMI", "SR"], int(fs), 10, np.random.default_rng(0)) / 1000
    return np.concatenate([x[: len(x) // 2], other[len(x) // 2 :]])


def paced(x: np.ndarray, fs: float) -> np.ndarray:
    spikes = np.zeros_like(x)
    spikes[int(fs) :: int(fs)] = 1.0
    return x + spikes


ROWS = (
    Row("unit", "the amplitude is not that of an ECG in mV", "failure",
        "spans 0.1 to 100 mV, half of the leads 0.3 to 20 mV", "µV read as mV", lambda x, _: 1000 * x),
    Row("unit", "half of the leads are too large", "no decision", "deviation of 0.8 mV",
        "ten times as large", lambda x, _: 10 * x),
    Row("too-short", "too short for an ECG", "failure", "2.5 s", "the first 2 s", lambda x, fs: x[: int(2 * fs)]),
    Row("short", "padded with zeros", "note", "10 s", "the first 7 s", lambda x, fs: x[: int(7 * fs)]),
    Row("gap-filled", "missing samples computed or interpolated", "note", "50 ms, 5 % of a lead",
        "every 500th sample of V2 missing", with_gap),
    Row("not-a-number", "more samples missing", "failure", "as above", "half a second of V2 missing",
        lambda x, fs: changed(x, V2, np.where(np.arange(len(x)) < fs / 2, np.nan, x[:, V2]))),
    Row("flat-lead", "a lead is flat or noise of a few microvolts, and is replaced", "note",
        "4 µV in more than half of the seconds", "V2 at 0", lambda x, _: changed(x, V2, 0 * x[:, V2])),
    Row("electrode-off", "a lead spans too much", "no decision", "20 mV", "V3 at 60 mV for 0.2 s",
        added(V3, lambda time: 60.0 * ((time > 5) & (time < 5.2)))),
    Row("lead-size", "a chest lead dwarfs those beside it", "no decision", "4 times", "V6 ten times as large",
        lambda x, _: changed(x, V6, 10 * x[:, V6])),
    Row("lead-size", "one of V2 to V6 is dwarfed by those beside it", "no decision", "0.19 times",
        "V3 a tenth as large", lambda x, _: changed(x, V3, x[:, V3] / 10)),
    Row("noise-lead", "a lead carries no ECG", "no decision", "R² of 0.1 on the other leads",
        "V3 replaced by noise of 0.3 mV", lambda x, _: changed(x, V3, 0.3 * noise(x[:, V3]))),
    Row("limb-leads-contradict", "Einthoven's and Goldberger's identities are violated", "no decision", "0.05 mV rms",
        "I and II swapped", lambda x, _: x[:, [1, 0, *range(2, 12)]]),
    Row("arms-swapped", "the arm electrodes are probably swapped", "no decision", "log ratio of 0",
        "arms swapped", lambda x, _: swap_arms(x.T).T),
    Row("electrodes-swapped", "other electrodes are probably swapped", "no decision", "log ratio of 0.2 or 0.5",
        "right arm and left leg swapped", lambda x, _: swap(x, "RA", "LL")),
    Row("lead-inverted", "a chest lead is probably inverted", "no decision", "log ratio of 0.5",
        "V3 inverted", lambda x, _: changed(x, V3, -x[:, V3])),
    Row("leads-unrelated", "a group of chest leads shows other beats", "no decision", "R² of 0.3 or 0.2",
        "V1 to V3 recorded 1 s later", lambda x, fs: delayed(x, int(fs))),
    Row("joined", "the beats before and after some second differ in their leads", "no decision",
        "contrast of 0.01", "an artificial ECG follows after 5 s", joined),
    Row("flat-part", "all leads stay at one value between beats", "no decision", "0.5 s", "all leads at 0 for 1 s",
        interrupted),
    Row("flat-part", "a lead stays at one value, or the file is padded", "note", "1 s, 0.5 s of padding",
        "V2 at 0 for 2 s",
        lambda x, fs: changed(x, V2, np.where(np.arange(len(x)) // int(fs) // 2 == 1, 0, x[:, V2]))),
    Row("no-beats", "no lead has a beat", "no decision", "3 s", "noise of 0.01 mV from 3 s on", standing_still),
    Row("repeated", "samples of all leads are copies of earlier ones", "no decision", "1 s",
        "the first 5 s repeated", lambda x, fs: np.concatenate([x[: int(5 * fs)]] * 2)),
    Row("wrong-rate", "the waves last half or twice as long", "no decision", "log odds of 2.5",
        "read at half the rate", lambda x, fs: resample(np.ascontiguousarray(x.T, np.float32), fs, 2 * fs).T),
    Row("lead-twice", "leads are the same, apart from their size", "no decision", "0.5 % unexplained",
        "V2 copied over V3",
        lambda x, _: changed(x, V3, x[:, V2])),
    Row("lost-voltage", "the voltage scale is lost", "note", "leads of one size within 2 %", "each lead z-scored",
        lambda x, _: (x - x.mean(axis=0)) / x.std(axis=0)),
    Row("wrapped", "values beyond the converter's range continue from its other end", "no decision",
        "ratio of energies of 0.22", "chest leads wrapped at 0.8 of their largest value", wrapped),
    Row("saturated", "a lead stays at its extreme value", "note", "0.05 s", "largest lead cut off at half", clip),
    Row("noise", "high-frequency noise", "note", "0.05 mV", "white noise of 0.1 mV in V4",
        added(V4, lambda time: 0.1 * noise(time))),
    Row("baseline-wander", "the baseline wanders", "note", "2 mV", "sine of 0.2 Hz and 1.5 mV in V4",
        added(V4, lambda time: 1.5 * np.sin(0.4 * np.pi * time))),
    Row("powerline", "power-line hum", "note", "0.02 mV, 3 times its neighbors", "50 Hz, 0.05 mV in V4",
        added(V4, lambda time: 0.05 * np.sin(100 * np.pi * time)), at_500=True),
    Row("pacing-spikes", "spikes of a pacemaker", "note", "three of 0.3 mV", "a sample of 1 mV each second", paced,
        at_500=True),
)  # fmt: skip


def records(folder: Path, column: str) -> Iterator[Record]:
    """Yield the records of fold 9."""
    table = pd.read_csv(folder / DATABASE)
    for file in table[column][table["strat_fold"] == FOLD]:
        yield read_record(folder / f"{file}.hea")


def codes(record: Record) -> set[tuple[str, str]]:
    return {(finding.code, str(finding.severity)) for finding in Preprocess().examine(record).findings}


def line(row: Row, some: list[Record], plain: list[set[tuple[str, str]]]) -> str:
    """Return a row of the table in Markdown."""
    wanted = (row.code, row.severity)
    faulty = [replace(r, signal=np.ascontiguousarray(row.make(r.signal, r.fs), np.float32)) for r in some]
    hits = sum(wanted in codes(record) for record in faulty)
    alarms = sum(wanted in findings for findings in plain)
    rate = "500 Hz" if row.at_500 else "100 Hz"
    share = f"{100 * hits / len(some):.1f} %"
    return (
        f"| `{row.code}` | {row.meaning} | {row.severity} | {row.bound} | {alarms} of {len(some)} at {rate} "
        f"| {row.fault} | {share} |"
    )


def main(folder_100: Path, folder_500: Path) -> None:
    sets = {False: list(records(folder_100, "filename_lr")), True: list(records(folder_500, "filename_hr"))}
    plain = {at_500: [codes(record) for record in some] for at_500, some in sets.items()}
    lines = [line(row, sets[row.at_500], plain[row.at_500]) for row in ROWS]
    head = "| code | meaning | severity | bound | fires on unchanged fold 9 | fault made on purpose | fires with it |"
    fill(PAGE, MARK, "\n".join([head, "|---|---|---|---|--:|---|--:|", *lines]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
