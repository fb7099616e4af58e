"""Files that are damaged, hostile or odd, and the results of reading them."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.survival.processes import confined
from benchmarks.survival.registry import Measured, Most, Trial, fault
from data_prep import Preprocess, RecordError, read_record
from data_prep.filters import resample
from data_prep.leads import STANDARD_LEADS
from tests.dicom_files import channels, group, write_dicom
from tests.edf_files import write_edf
from tests.folders import ecg
from tests.fuzz.mutants import damage_header, flip_bit
from tests.wfdb_files import beats, edit, make_record, two_files, write_wfdb

PREPROCESS = Preprocess()
RAW = Preprocess(baseline="keep")


class Reading(NamedTuple):
    """Outcome of reading a file."""

    refused: bool
    escaped: bool
    """Whether another error than RecordError was raised."""
    seconds: float


def reading(read: Callable[[], object]) -> Reading:
    start = time.perf_counter()
    try:
        read()
    except RecordError:
        return Reading(True, False, time.perf_counter() - start)
    except Exception:  # noqa: BLE001, it is what is counted
        return Reading(False, True, time.perf_counter() - start)
    return Reading(False, False, time.perf_counter() - start)


@fault(
    "R1",
    "damaged headers of WFDB records with checksums",
    {"other errors than RecordError": Most(0), "silently read wrong": Most(0), "slowest": Most(50, "ms")},
)
def damage_headers(trial: Trial) -> Measured:
    rng, n_mutants = np.random.default_rng(trial.seed), trial.count(4000, 2)
    escaped = silent = accepted = 0
    slowest = 0.0
    for arrangement in (lambda header: header, two_files):
        folder = trial.folder / str(accepted)
        folder.mkdir()
        header: Path = arrangement(write_wfdb(folder))
        content, truth = header.read_bytes(), PREPROCESS(read_record(header))
        for _ in range(n_mutants // 2):
            header.write_bytes(damage_header(content, rng))
            result = reading(lambda header=header: read_record(header))
            escaped += result.escaped
            slowest = max(slowest, result.seconds)
            if not result.refused and not result.escaped:
                with suppress(RecordError):
                    prepared = PREPROCESS(read_record(header))
                    accepted += 1
                    same = np.allclose(prepared.signal, truth.signal, atol=1e-6)
                    silent += not same and prepared.findings == truth.findings
    return Measured(
        f"{n_mutants:,} headers, of which {accepted:,} were read",
        {"other errors than RecordError": escaped, "silently read wrong": silent, "slowest": 1000 * slowest},
    )


@fault(
    "R2",
    "sample files that are cut off, too long, of odd length, missing, or have a flipped bit",
    {"not noticed": Most(0), "other errors than RecordError": Most(0)},
)
def damage_samples(trial: Trial) -> Measured:
    header = write_wfdb(trial.folder)
    data = header.with_suffix(".dat")
    content, chance = data.read_bytes(), trial.chance
    cut = [content[: chance.randrange(len(content))] for _ in range(trial.count(50))]
    odd = [b"", content + content, content + b"\0", content[:-1]]
    flipped = [flip_bit(content, chance) for _ in range(trial.count(200))]
    missed = escaped = 0
    for damaged in (*cut, *odd, *flipped):
        data.write_bytes(damaged)
        result = reading(lambda: read_record(header))
        missed += not result.refused and not result.escaped
        escaped += result.escaped
    return Measured(
        f"{len(cut)} lengths, {len(odd)} other sizes, {len(flipped)} bits",
        {"not noticed": missed, "other errors than RecordError": escaped},
    )


def bombs(folder: Path) -> Iterator[Path]:
    """Yield files whose headers promise more than the files contain."""
    number = count()

    def header() -> Path:
        inner = folder / f"b{next(number)}"
        inner.mkdir()
        return write_wfdb(inner)

    for kind in ("16", "212", "16x999999999", "24"):
        for n_samples in ("1000000000", "1000000000000", "999999999999999999"):
            yield edit(edit(header(), "100 1000\n", f"100 {n_samples}\n"), ".dat 16 ", f".dat {kind} ")
    for kind in ("16x1000000000", "16:1000000000", "16+1000000000"):
        yield edit(header(), ".dat 16 ", f".dat {kind} ")
    yield edit(header(), "00001_lr 12 ", "00001_lr 100000 ")
    yield edit(header(), "00001_lr 12 ", "00001_lr/100000000 12 ")
    for offset, field in ((236, b"99999999"), (252, b"9999")):  # data records, signals
        path = write_edf(folder / f"b{next(number)}.edf", (beats(500, 500.0) * 1000).astype(np.int32))
        damaged = bytearray(path.read_bytes())
        damaged[offset : offset + len(field)] = field
        path.write_bytes(damaged)
        yield path
    for name, value in (("NumberOfWaveformSamples", 4 * 10**9), ("NumberOfWaveformChannels", 65535)):
        item = group((beats(500, 500.0) * 400).astype(np.int16), channels(), 500.0)
        setattr(item, name, value)
        yield write_dicom(folder / f"b{next(number)}.dcm", item)


@fault(
    "R3",
    "headers that promise up to 10¹⁸ samples, 100,000 leads or 65,535 channels (WFDB, EDF, DICOM)",
    {"not refused": Most(0), "slowest": Most(0.1, "s"), "memory taken": Most(50, "MB")},
)
def promise_too_much(trial: Trial) -> Measured:
    for path in (  # import the readers
        write_wfdb(trial.folder),
        write_edf(trial.folder / "a.edf", (beats(500, 500.0) * 1000).astype(np.int32)),
        write_dicom(trial.folder / "a.dcm", group((beats(500, 500.0) * 400).astype(np.int16), channels(), 500.0)),
    ):
        read_record(path)
    paths = list(bombs(trial.folder))
    results = [confined(lambda path=path: reading(lambda: read_record(path)), 200.0) for path in paths]
    return Measured(
        f"{len(paths)} files, each in a process with 200 MB more of address space",
        {
            "not refused": sum(not result.value.refused for result in results),
            "slowest": max(result.value.seconds for result in results),
            "memory taken": max(result.megabytes for result in results),
        },
    )


def outsiders(inside: Path, outside: Path) -> Iterator[Path]:
    """Yield records that refer to files outside their folder, or to something that is not a file."""
    secret = write_wfdb(outside)
    names = ("../secret.dat", f"../{outside.name}/00001_lr.dat", str(secret.with_suffix(".dat")), "/etc/passwd")
    names += ("http://127.0.0.1:9/x.dat", "https://example.org/x.dat", "s3://x/y.dat", "sub/00001_lr.dat", "..", "-")
    for number, name in enumerate(names):
        inner = inside / f"n{number}"
        inner.mkdir()
        yield edit(write_wfdb(inner), "00001_lr.dat", name)
    for number, suffix in enumerate((".dat", ".hea")):
        for kind in ("link", "pipe", "device", "folder"):
            inner = inside / f"{kind}{number}"
            inner.mkdir()
            header = write_wfdb(inner)
            path = header.with_suffix(suffix)
            path.unlink()
            match kind:
                case "link":
                    path.symlink_to(secret.with_suffix(suffix))
                    if suffix == ".hea":  # a header may be a link, so a segment elsewhere is tried instead
                        header = inner / "also.hea"
                        header.write_text(f"also/1 12 100 1000\n../../{outside.name}/00001_lr 1000\n")
                case "pipe":
                    os.mkfifo(path)
                case "device":
                    path.symlink_to("/dev/zero")
                case "folder":
                    path.mkdir()
            yield header
    inner = inside / "self"
    inner.mkdir()
    write_wfdb(inner).write_text("00001_lr/2 12 100 2000\n00001_lr 1000\n00001_lr 1000\n")
    yield inner / "00001_lr.hea"


def watched(path: Path, outside: Path) -> tuple[Reading, int, int]:
    """Read a file, and count connections and files that are opened elsewhere."""
    seen = {"opened": 0, "connected": 0}

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            opened = Path(os.fsdecode(arguments[0])).resolve()
            seen["opened"] += opened.is_relative_to(outside) or opened in (Path("/etc/passwd"), Path("/dev/zero"))
        seen["connected"] += event in ("socket.connect", "socket.getaddrinfo")

    sys.addaudithook(watch)
    return reading(lambda: read_record(path)), seen["opened"], seen["connected"]


@fault(
    "R4",
    "records that refer to files elsewhere: ../, absolute paths, addresses, links, pipes, devices, folders, themselves",
    {"not refused": Most(0), "slowest": Most(1, "s"), "files opened elsewhere": Most(0), "connections": Most(0)},
)
def lead_elsewhere(trial: Trial) -> Measured:
    inside, outside = trial.folder / "inside", trial.folder / "outside"
    inside.mkdir()
    outside.mkdir()
    paths = list(outsiders(inside, outside))
    results = [confined(lambda path=path: watched(path, outside)).value for path in paths]
    return Measured(
        f"{len(paths)} records",
        {
            "not refused": sum(not result.refused for result, _, _ in results),
            "slowest": max(result.seconds for result, _, _ in results),
            "files opened elsewhere": sum(opened for _, opened, _ in results),
            "connections": sum(connected for _, _, connected in results),
        },
    )


SCALES = {"nV": "0.001", "uV": "1.0", "µV": "1.0", "mV": "1000.0", "V": "1000000.0"}
"""Units, each with the gain that states 1,000 digital units per mV."""
NO_GAINS = ("0", "-1000", "nan", "inf", "1e-300", "1e300", "1_000", "")
NO_UNITS = ("mmHg", "kV", "bpm", "Ω")


@fault(
    "R5",
    "units from nV to V, and impossible gains and units",
    {"largest error": Most(1, "LSB"), "impossible gains and units that are read": Most(0)},
)
def change_units(trial: Trial) -> Measured:
    error, accepted = 0.0, 0
    truth = np.round(beats() * 1000)
    for unit, gain in SCALES.items():
        header = write_wfdb(trial.folder, gain=f"{gain}(0)", unit=f"/{unit}")
        error = max(error, float(np.abs(read_record(header).signal * 1000 - truth).max()))
    for gain in NO_GAINS:
        header = edit(write_wfdb(trial.folder), "1000.0(0)/mV" if not gain else "1000.0(0)", gain)
        accepted += not reading(lambda header=header: read_record(header)).refused
    for unit in NO_UNITS:
        header = write_wfdb(trial.folder, unit=f"/{unit}")
        accepted += not reading(lambda header=header: read_record(header)).refused
    return Measured(
        f"{len(SCALES)} units, {len(NO_GAINS)} gains and {len(NO_UNITS)} impossible units",
        {"largest error": error, "impossible gains and units that are read": accepted},
    )


RATES = (100.0, 128.0, 240.0, 250.0, 257.0, 257.5, 360.0, 400.0, 480.0, 500.0, 512.0, 997.0, 1000.0, 2000.0)
NO_RATES = ("0", "-100", "nan", "inf", "")
KEPT = range(1, 41)
"""Frequencies in Hz that a signal at 100 Hz should keep."""


def response(old: float, frequency: float, new: int = 100) -> tuple[float, float]:
    """Return the factor by which resampling changes the amplitude of a sine, and its lag in new samples."""
    old_time, new_time = np.arange(round(10 * old)) / old, np.arange(10 * new) / new
    signal = np.sin(2 * np.pi * frequency * old_time)[None].astype(np.float32)
    middle = slice(2 * new, 8 * new)
    result = resample(signal, old, new)[0, middle]
    angle = 2 * np.pi * frequency * new_time[middle]
    (sine, cosine), *_ = np.linalg.lstsq(np.stack([np.sin(angle), np.cos(angle)], axis=1), result, rcond=None)
    return float(np.hypot(sine, cosine)), abs(float(np.arctan2(cosine, sine)) / (2 * np.pi * frequency) * new)


def loudness(old: float, frequency: float, new: int = 100) -> float:
    """Return the level of a sine after resampling, in dB relative to the original."""
    signal = np.sin(2 * np.pi * frequency * np.arange(round(10 * old)) / old)[None].astype(np.float32)
    kept = resample(signal, old, new)[0, 2 * new : 8 * new]
    return float(20 * np.log10(max(np.sqrt(2 * (kept.astype(np.float64) ** 2).mean()), 1e-9)))


@fault(
    "R6",
    "14 sampling rates from 100 to 2,000 Hz resampled to 100 Hz, and impossible rates",
    {
        "other lengths than 1,000 samples": Most(0),
        "change of sines of 1 to 40 Hz": Most(2, "%"),
        "lag of these sines": Most(1, "samples"),
        "level of sines from 58 Hz on": Most(-30, "dB"),
        "impossible rates that are read": Most(0),
    },
)
def change_rates(trial: Trial) -> Measured:
    lengths = sum(RAW(make_record(beats(round(10 * fs), fs), fs)).signal.shape[1] != 1000 for fs in RATES)
    responses = [response(fs, frequency) for fs in RATES for frequency in KEPT]
    levels = [loudness(fs, frequency) for fs in RATES for frequency in np.arange(58, min(fs / 2, 450), 8)]
    accepted = 0
    for text in NO_RATES:
        header = edit(write_wfdb(trial.folder), " 12 100 1000", f" 12 {text} 1000" if text else " 12")
        accepted += not reading(lambda header=header: read_record(header)).refused
    return Measured(
        f"{len(RATES)} rates, {len(responses)} sines to keep, {len(levels)} to remove, {len(NO_RATES)} other rates",
        {
            "other lengths than 1,000 samples": lengths,
            "change of sines of 1 to 40 Hz": max(100 * abs(factor - 1) for factor, _ in responses),
            "lag of these sines": max(lag for _, lag in responses),
            "level of sines from 58 Hz on": max(levels),
            "impossible rates that are read": accepted,
        },
    )


SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    str.lower,
    lambda lead: f"Lead {lead}",
    lambda lead: f"EKG {lead}",
    lambda lead: f"MDC_ECG_LEAD_{lead.upper()}",
)
EIGHT = ("I", "II", *STANDARD_LEADS[6:])


@fault(
    "R7",
    "leads in other orders and spellings; 8, 15, 3 or 1 leads; a lead that occurs twice",
    {
        "difference of probabilities": Most(0),
        "error of derived leads": Most(1, "LSB"),
        "other numbers of leads that are read as 12": Most(0),
    },
)
def shuffle_leads(trial: Trial) -> Measured:
    from ecgmtl.inference.predict import predict_records
    from ecgmtl.inference.predictor import load_predictor
    from ecgmtl.inference.result import Prediction

    predictor, chance = load_predictor(n_threads=1), trial.chance
    signal = beats().astype(np.float32)

    def probabilities(leads: list[str], columns: np.ndarray) -> np.ndarray:
        (result,) = predict_records(predictor, [make_record(columns, leads=leads)])
        assert isinstance(result, Prediction), result
        return np.array(list(result.probabilities.values()))

    truth = probabilities(list(STANDARD_LEADS), signal)
    difference, n_orders = 0.0, trial.count(24)
    for number in range(n_orders):
        order = chance.sample(range(12), 12)
        spell = SPELLINGS[number % len(SPELLINGS)]
        leads, columns = [spell(STANDARD_LEADS[i]) for i in order], signal[:, order]
        extra = [f"V{7 + i}" for i in range(3)] if number % 4 == 3 else []
        columns = np.concatenate([columns, signal[:, : len(extra)]], axis=1)
        difference = max(difference, float(np.abs(probabilities(leads + extra, columns) - truth).max()))
    eight = make_record(signal[:, [STANDARD_LEADS.index(lead) for lead in EIGHT]], leads=EIGHT)
    derived = float(np.abs(RAW(eight).signal - RAW(make_record(signal)).signal).max() * 1000)
    wrong = [("I",), ("I", "II", "V1"), (*STANDARD_LEADS[:11], "V5"), (*STANDARD_LEADS, "II")]
    accepted = 0
    for leads in wrong:
        columns = signal[:, [STANDARD_LEADS.index(lead) for lead in leads]].copy()
        columns[:, -1] *= 1.5
        accepted += not reading(lambda columns=columns, leads=leads: RAW(make_record(columns, leads=leads))).refused
    return Measured(
        f"{n_orders} orders in {len(SPELLINGS)} spellings, 1 record of 8 leads, {len(wrong)} others",
        {
            "difference of probabilities": difference,
            "error of derived leads": derived,
            "other numbers of leads that are read as 12": accepted,
        },
    )


def spoiled(signal: np.ndarray) -> Iterator[np.ndarray]:
    """Yield records with gaps of all lengths, impossible values, flat and saturated leads, and hum."""
    for n_samples in (1, 10, 50, 200, 500, len(signal)):
        for value in (np.nan, np.inf, -np.inf, -32.768):
            for leads in (slice(3, 4), slice(0, 6), slice(None)):
                damaged = signal.copy()
                damaged[len(signal) // 3 :][:n_samples, leads] = value
                if n_samples == len(signal):
                    damaged[:, leads] = value
                yield damaged
    for leads in (slice(6, 7), slice(0, 2), slice(None)):
        flat, saturated = signal.copy(), signal.copy()
        flat[:, leads] = 0.0
        saturated[:, leads] = np.clip(saturated[:, leads], -0.05, 0.05)
        yield flat
        yield saturated
    for millivolts in (0.02, 0.5, 5.0, 100.0):
        yield (signal + millivolts * np.sin(2 * np.pi * 50 * np.arange(len(signal)) / 500)[:, None]).astype(np.float32)


@fault(
    "R8",
    "gaps, −32768, ±∞, flat leads, saturation and power-line hum",
    {"probabilities that are not finite": Most(0), "failures by a bug": Most(0)},
)
def spoil_signals(trial: Trial) -> Measured:
    from ecgmtl.inference.options import PredictOptions
    from ecgmtl.inference.predict import predict_records
    from ecgmtl.inference.predictor import load_predictor
    from ecgmtl.inference.result import Failure

    predictor = load_predictor(n_threads=1)
    signal = ecg(np.random.default_rng(trial.seed), 5000, 500).astype(np.float32)
    records = [replace(make_record(one, fs=500.0), name=f"r{i}") for i, one in enumerate(spoiled(signal))]
    results = list(predict_records(predictor, records, PredictOptions(batch_size=16)))
    failures = [result for result in results if isinstance(result, Failure)]
    rest = [result for result in results if not isinstance(result, Failure)]
    numbers = [list(result.probabilities.values()) + list(result.calibrated.values()) for result in rest]
    undecided = sum(result.undecided is not None for result in rest)
    return Measured(
        f"{len(records)} records: {len(failures)} failed, {undecided} got no decision, {len(rest) - undecided} did",
        {
            "probabilities that are not finite": int((~np.isfinite(numbers)).sum()),
            "failures by a bug": sum(finding.code == "bug" for result in failures for finding in result.findings),
        },
    )
