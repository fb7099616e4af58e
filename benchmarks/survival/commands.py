"""Commands on odd files and folders, hostile models, full disks, and without a network."""

import csv
import errno
import io
import os
import pickle
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from benchmarks.survival.processes import ROOT, Ended, command, confined, finish, forked
from benchmarks.survival.registry import Measured, Most, Trial, fault
from data_prep.errors import UserError
from tests.folders import LEADS, ecg, write_record
from tests.fuzz.mutants import flip_bit

TRACEBACK = "Traceback (most recent call last)"


class Said(NamedTuple):
    """Exit of a command, and its output to the terminal."""

    ended: Ended
    text: str


def run(folder: Path, *words: object) -> Said:
    """Run `ecgmtl` in a forked process."""
    from ecgmtl.inference import onnx_predictor  # noqa: F401, forked processes need not

    log = folder / "log"
    log.unlink(missing_ok=True)
    ended = finish(forked(command(*words), folder, log))
    return Said(ended, log.read_text(errors="replace"))


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@fault(
    "R9",
    "records of 0 s to 24 h at 500 Hz",
    {"rows lost": Most(0), "tracebacks": Most(0), "memory for the longest": Most(1000, "MB")},
)
def change_lengths(trial: Trial) -> Measured:
    rng, folder = np.random.default_rng(trial.seed), trial.folder / "records"
    hours, seconds = max(0.5, 24 * trial.scale), (0.002, 1.0, 2.0, 9.99, 10.0, 30.0)
    for number, length in enumerate(seconds):
        write_record(folder / f"r{number}", ecg(rng, 5000, 500)[np.arange(round(500 * length)) % 5000], 500)
    write_record(folder / "empty", ecg(rng, 500, 500), 500)
    (folder / "empty.dat").write_bytes(b"")
    (trial.folder / "long").mkdir()
    write_long(trial.folder / "long/day", ecg(rng, 5000, 500), hours)
    said = run(trial.folder, "predict", folder, "--out", trial.folder / "p.csv", "--workers", 1)
    rows = rows_of(trial.folder / "p.csv")
    words = ("predict", trial.folder / "long", "--out", trial.folder / "q.csv", "--workers", 1, "--window", "all")
    long = run(trial.folder, *words)
    lost = len(seconds) + 1 - len(rows) + 1 - len(rows_of(trial.folder / "q.csv"))
    return Measured(
        f"{len(seconds) + 1} records of up to 30 s, and one of {hours:g} h in all its windows",
        {
            "rows lost": lost,
            "tracebacks": said.text.count(TRACEBACK) + long.text.count(TRACEBACK),
            "memory for the longest": peak_of_children(),
        },
    )


def peak_of_children() -> float:
    """Return the largest memory that a child has taken, in MB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def processor_seconds() -> float:
    """Return the processor time of all children so far. On a busy machine, it varies less than the wall clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_long(path: Path, signal: np.ndarray, hours: float) -> None:
    """Write a record that repeats a signal at 500 Hz, without holding it in memory."""
    n_copies = round(3600 * hours * 500 / len(signal))
    digital = np.rint(signal * 1000).astype("<i2")
    with path.with_suffix(".dat").open("wb") as file:
        for _ in range(n_copies):
            file.write(digital.tobytes())
    lines = [f"{path.name} 12 500 {n_copies * len(digital)}"]
    for lead, values in zip(LEADS, digital.T, strict=True):
        checksum = n_copies * int(values.sum(dtype=np.int64)) & 0xFFFF
        lines.append(f"{path.name}.dat 16 1000.0(0)/mV 16 0 {values[0]} {checksum} 0 {lead}")
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")


NAMES = ("a b", "Übung 心電図", "x" * 200, "a\nb", "a,b", 'a"b', "=1+1", "a%20b", "--out", "a;b'c")


@fault(
    "R10",
    "headers with byte order marks, line endings and encodings of all kinds; file names with spaces, line breaks and "
    "200 letters",
    {"rows lost": Most(0), "tracebacks": Most(0), "names that the table changes": Most(0)},
)
def odd_texts(trial: Trial) -> Measured:
    folder = trial.folder / "records"
    rng = np.random.default_rng(trial.seed)
    for name in NAMES:
        write_record(folder / "plain", ecg(rng))
        for suffix in (".hea", ".dat"):
            text = (folder / f"plain{suffix}").read_bytes()
            (folder / f"{name}{suffix}").write_bytes(text.replace(b"plain", name.encode()))
    write_record(folder / "plain", ecg(rng))
    content = (folder / "plain.hea").read_bytes()
    heads = {
        "bom": b"\xef\xbb\xbf" + content,
        "crlf": content.replace(b"\n", b"\r\n"),
        "latin": content + b"# Gr\xf6\xdfe\n",
        "utf16": content.decode().encode("utf-16"),
        "empty": b"",
        "binary": bytes(range(256)),
        "zeros": b"\0" * 99,
    }
    for name, head in heads.items():
        (folder / f"{name}.hea").write_bytes(head)
    said = run(trial.folder, "predict", folder, "--out", trial.folder / "p.csv", "--workers", 1)
    paths = [Path(row["path"]).name for row in rows_of(trial.folder / "p.csv")]
    expected = len(NAMES) + 1 + len(heads)
    kept = sum(
        any(path.lstrip("'").removesuffix(".hea") == name for path in paths) for name in NAMES if "\n" not in name
    )
    return Measured(
        f"{len(heads)} headers, {len(NAMES)} names",
        {
            "rows lost": expected - len(paths),
            "tracebacks": said.text.count(TRACEBACK),
            "names that the table changes": sum("\n" not in name for name in NAMES) - kept,
        },
    )


@fault(
    "R11",
    "a folder of 1,000 good and 100 bad records",
    {
        "rows lost": Most(0),
        "good rows that differ from a clean folder's": Most(0),
        "exit codes other than 3": Most(0),
        "seconds": Most(60, "s"),
    },
)
def mix_bad_records(trial: Trial) -> Measured:
    rng, n_good, n_bad = np.random.default_rng(trial.seed), trial.count(1000), trial.count(100)
    clean, mixed = trial.folder / "clean", trial.folder / "mixed"
    kinds = [ecg(rng) for _ in range(20)]
    for number in range(n_good):
        write_record(clean / f"g{number:04d}", kinds[number % 20] * (0.8 + 0.4 * number / n_good))
    shutil.copytree(clean, mixed)
    for number in range(n_bad):
        path = mixed / f"b{number:04d}"
        write_record(path, kinds[0])
        data = path.with_suffix(".dat").read_bytes()
        match number % 4:
            case 0:
                path.with_suffix(".dat").write_bytes(data[:-7])
            case 1:
                path.with_suffix(".dat").write_bytes(data[:100] + b"\x55" + data[101:])
            case 2:
                path.with_suffix(".hea").write_text("no header\n")
            case _:
                path.with_suffix(".dat").unlink()
    first = run(trial.folder, "predict", "clean", "--out", "clean.csv", "--workers", 1)
    assert first.ended.code == 0, first.text
    said = run(trial.folder, "predict", "mixed", "--out", "mixed.csv", "--workers", 1)
    good = {Path(row.pop("path")).name: row for row in rows_of(trial.folder / "clean.csv")}
    rows = {Path(row.pop("path")).name: row for row in rows_of(trial.folder / "mixed.csv")}
    return Measured(
        f"{n_good:,} good, {n_bad} bad records, one worker",
        {
            "rows lost": n_good + n_bad - len(rows),
            "good rows that differ from a clean folder's": sum(rows.get(name) != row for name, row in good.items()),
            "exit codes other than 3": int(said.ended.code != 3),
            "seconds": said.ended.seconds,
        },
    )


@fault(
    "R12",
    "an empty folder, a missing path, the same record twice, the same name in two folders",
    {"other exit codes": Most(0), "slowest refusal": Most(1, "processor s"), "rows lost or doubled": Most(0)},
)
def odd_folders(trial: Trial) -> Measured:
    rng = np.random.default_rng(trial.seed)
    for name in ("one/r", "two/r"):
        write_record(trial.folder / name, ecg(rng))
    (trial.folder / "empty").mkdir()
    wrong = doubled = 0
    slowest = 0.0
    for path in ("empty", "nowhere"):
        before = processor_seconds()
        wrong += run(trial.folder, "predict", path, "--out", "n.csv").ended.code not in (1, 2, 3)
        slowest = max(slowest, processor_seconds() - before)
    for paths, expected in ((("one/r", "one/r.hea", "one"), 1), (("one", "two"), 2)):
        said = run(trial.folder, "predict", *paths, "--out", "p.csv", "--workers", 1)
        wrong += said.ended.code != 0
        found = [row["path"] for row in rows_of(trial.folder / "p.csv")]
        doubled += abs(len(found) - expected) + len(found) - len(set(found))
    return Measured(
        "2 refusals, 2 tables",
        {"other exit codes": wrong, "slowest refusal": slowest, "rows lost or doubled": doubled},
    )


@fault(
    "R15",
    "single flipped bits of a checkpoint, a training state, and exports to ONNX and as a torch program",
    {"silently changed weights or probabilities": Most(0), "other errors than the project's own": Most(0)},
)
def flip_bits(trial: Trial) -> Measured:
    import torch

    from ecgmtl import checkpoint
    from ecgmtl.export.write import export
    from ecgmtl.inference.predictor import load_predictor
    from ecgmtl.training.state_file import load_state, save_state
    from tests.models import untrained

    stored, folder, n_bits, chance = untrained(), trial.folder, trial.count(100), trial.chance
    signals = 0.2 * torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(trial.seed))
    checkpoint.save(folder / "m.safetensors", stored)
    save_state(folder / "state.pt", {"weights": stored.model.state_dict(), "epoch": 3})
    for kind in ("onnx", "pt2"):
        export(stored, kind, folder / f"c.{kind}", signals)

    def logits(path: Path) -> bytes:
        return load_predictor(str(path)).logits(signals.numpy()).tobytes()

    def values(tree: dict[str, torch.Tensor]) -> bytes:
        return b"".join(value.numpy().tobytes() for value in tree.values())

    readers: dict[str, Callable[[Path], bytes]] = {
        "m.safetensors": lambda path: values(checkpoint.load(path).model.state_dict()),
        "state.pt": lambda path: values(load_state(path)["weights"]),
        "c.onnx": logits,
        "c.pt2": logits,
    }
    silent = escaped = refused = 0
    for name, load in readers.items():
        path = folder / name
        content, truth = path.read_bytes(), load(path)
        for _ in range(n_bits if name != "c.pt2" else max(2, n_bits // 5)):
            path.write_bytes(flip_bit(content, chance))
            try:
                silent += load(path) != truth
            except UserError:
                refused += 1
            except Exception:  # noqa: BLE001, it is what is counted
                escaped += 1
    return Measured(
        f"{3 * n_bits + max(2, n_bits // 5)} bits, of which {refused} were noticed and the rest changed nothing",
        {"silently changed weights or probabilities": silent, "other errors than the project's own": escaped},
    )


class Payload:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def hostile(folder: Path, mark: Path) -> Iterator[tuple[Path, Callable[[Path], object]]]:
    """Yield files that would run code, read other files or fill the memory, and what loads them."""
    import yaml

    from data_prep import read_record
    from ecgmtl import checkpoint
    from ecgmtl.config.run import load_config
    from ecgmtl.inference.predictor import load_predictor
    from ecgmtl.training.state_file import load_state

    def write(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    loaders: dict[str, Callable[[Path], object]] = {
        "a.safetensors": checkpoint.load,
        "state.pt": load_state,
        "b.onnx": lambda path: load_predictor(str(path)),
        "c.pt2": lambda path: load_predictor(str(path)),
        "d.npz": read_record,
        "e.npy": read_record,
    }
    for name, load in loaders.items():
        yield write(name, pickle.dumps(Payload(mark))), load
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("archive/data.pkl", pickle.dumps(Payload(mark)))
        packed.writestr("archive/version", "3")
    for name in ("zipped.pt", "zipped.pt2"):
        yield write(name, archive.getvalue()), loaders["state.pt" if name.endswith("pt") else "c.pt2"]
    objects = io.BytesIO()
    np.savez(objects, signal=np.array([Payload(mark)], dtype=object), fs=500)
    yield write("objects.npz", objects.getvalue()), read_record
    yield write("a.yaml", f"x: !!python/object/apply:os.mkdir ['{mark}']\n".encode()), load_config
    yield write("b.yaml", yaml.dump(Path("x")).encode()), load_config
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    yield write("c.yaml", "\n".join(bomb).encode()), load_config
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    yield write("bomb.xml", f'<!DOCTYPE r [<!ENTITY a0 "x">{entities}]><r>&a9;</r>'.encode()), read_record
    yield write("xxe.xml", b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r>&a;</r>'), read_record
    outside = b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd"><AnnotatedECG xmlns="urn:hl7-org:v3"/>'
    yield write("net.xml", outside), read_record
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("signal.npy", "w") as file:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**8, 12)})
        file.write(head.getvalue())
        for _ in range(600):
            file.write(b"\0" * 1_000_000)
    yield write("zeros.npz", zeros.getvalue()), read_record


@fault(
    "R16",
    "malicious models, training states, arrays, YAML and XML: pickles, Python tags, entities, decompression bombs",
    {
        "code run": Most(0),
        "not refused": Most(0),
        "connections": Most(0),
        "slowest": Most(1, "s"),
        "memory taken": Most(200, "MB"),
    },
)
def open_hostile(trial: Trial) -> Measured:
    from ecgmtl.inference import onnx_predictor, predictor  # noqa: F401, forked processes need not

    mark = trial.folder / "ran"
    cases = list(hostile(trial.folder, mark))

    def attempt(path: Path, load: Callable[[Path], object]) -> tuple[bool, int, float]:
        seen = [0]
        sys.addaudithook(lambda event, _: seen.__setitem__(0, seen[0] + event.startswith("socket.connect")))
        start = time.perf_counter()
        try:
            load(path)
        except UserError:
            return True, seen[0], time.perf_counter() - start
        except Exception:  # noqa: BLE001, it is what is counted
            return False, seen[0], time.perf_counter() - start
        return False, seen[0], time.perf_counter() - start

    for path, load in cases:  # imports of the first time do not count
        if path.name in ("a.safetensors", "state.pt", "b.onnx", "c.pt2", "zipped.pt2", "d.npz", "a.yaml", "xxe.xml"):
            with suppress(Exception):
                load(path)
    results = {path.name: confined(lambda path=path, load=load: attempt(path, load)) for path, load in cases}
    slowest = max(results, key=lambda name: results[name].value[2])
    return Measured(
        f"{len(cases)} files; the slowest is {slowest}",
        {
            "code run": int(mark.exists()),
            "not refused": sum(not result.value[0] for result in results.values()),
            "connections": sum(result.value[1] for result in results.values()),
            "slowest": max(result.value[2] for result in results.values()),
            "memory taken": max(result.megabytes for result in results.values()),
        },
    )


@fault(
    "R17",
    "a full disk (tmpfs of 1 MB), a disk that fills up, a limit of 60 kB for files (RLIMIT_FSIZE), a read-only file "
    "system",
    {
        "commands that do not end with an error message": Most(0),
        "messages that do not name the file": Most(0),
        "partial files, or incomplete files under their final names": Most(0),
        "slowest refusal to train": Most(2, "s"),
    },
)
def fill_disk(trial: Trial) -> Measured:
    from benchmarks.survival.training import make_baseline, unreadable

    baseline, disk = make_baseline(trial), trial.folder / "disk"
    disk.mkdir()
    log = trial.folder / "log"
    wrong = unnamed = left = 0
    slowest = 0.0
    train = command(*baseline.train(disk / "run", track=False))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        command(*baseline.train(trial.folder / "limited/run", track=False))()

    def filling() -> None:  # there is room at first, and another program takes it
        shutil.disk_usage = lambda _: SimpleNamespace(free=10**12)  # type: ignore[assignment]
        train()

    cases: tuple[tuple[str, Callable[[], None], str], ...] = (
        ("size=1m", train, "disk/run"),
        ("size=1m,ro", train, "disk/run"),
        ("size=1m", filling, "disk/run"),
        ("", limited, "limited/run"),
        ("size=64k", command("predict", baseline.folder / "records", "--out", disk / "p.csv", "--workers", 1), "disk"),
        ("size=1m,ro", command("predict", baseline.folder / "records", "--out", disk / "p.csv"), "disk"),
        ("size=64k", command("data", "prepare", baseline.folder / "records", disk / "store"), "disk/store"),
    )
    for options, case, name in cases:
        if options:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "faults", str(disk)], check=True)
        try:
            log.unlink(missing_ok=True)
            ended = finish(forked(case, trial.folder, log))
            output = log.read_text()
            wrong += ended.code != 1 or TRACEBACK in output
            unnamed += name not in output
            if case is train:
                slowest = max(slowest, ended.seconds)
            left += unreadable(disk / "run")
            left += sum(name in ("p.csv", "manifest.json") or name.endswith(".partial") for name in files_in(disk))
        finally:
            if options:
                subprocess.run(["umount", str(disk)], check=True)
    return Measured(
        f"{len(cases)} commands",
        {
            "commands that do not end with an error message": wrong,
            "messages that do not name the file": unnamed,
            "partial files, or incomplete files under their final names": left,
            "slowest refusal to train": slowest,
        },
    )


def files_in(folder: Path) -> list[str]:
    """Return the names of the files in and below a folder."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


@fault(
    "R18",
    "training, evaluation, prediction and export without a network (unshare -n)",
    {"commands that fail": Most(0)},
)
def without_network(trial: Trial) -> Measured:
    from benchmarks.survival.training import make_baseline

    baseline = make_baseline(trial)
    run_folder = trial.folder / "run"
    lines = (
        ("train", "--data", baseline.store, "--out", run_folder, "--config", "quick", "--stage", "pretrain"),
        ("evaluate", baseline.folder / "whole/run", "--data", baseline.store, "--split", "test", "--out", "report"),
        ("predict", baseline.folder / "whole/run", baseline.folder / "records", "--out", "p.csv"),
        ("export", baseline.folder / "whole/run", "--to", "onnx", "--out", "c.onnx", "--data", baseline.store),
    )

    def alone(words: tuple[object, ...]) -> Callable[[], None]:
        def run_it() -> None:
            os.unshare(os.CLONE_NEWNET) if hasattr(os, "unshare") else unshare_network()
            command(*words)()

        return run_it

    failed = sum(finish(forked(alone(words), trial.folder, trial.folder / "log")).code != 0 for words in lines)
    return Measured(f"{len(lines)} commands", {"commands that fail": failed})


def unshare_network() -> None:
    """Move this process into a network of its own, which has no address (Python before 3.12)."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), errno.errorcode[ctypes.get_errno()])


def tests_that_fail(*words: str) -> tuple[int, int]:
    """Run tests and return how many failed, and how many ran."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    done = subprocess.run([*pytest, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    counts = {"passed": 0, "failed": 0, "error": 0}
    for part in done.stdout.splitlines()[-1].split(", "):
        number, _, kind = part.strip("= ").partition(" ")
        for name in counts:
            if kind.startswith(name):
                counts[name] = int(number)
    return counts["failed"] + counts["error"], sum(counts.values())


@fault(
    "R19",
    "MLflow's store is damaged, deleted, unwritable, unreachable, or of an old or unknown kind",
    {"tests that fail": Most(0)},
)
def break_mlflow(_trial: Trial) -> Measured:
    words = (
        "breaks or locked_store or wrong_kind or read_only_store or old_file_store or unreachable or no_longer_exists"
    )
    failed, n_tests = tests_that_fail("tests/tracking", "-k", words)
    return Measured(f"{n_tests} tests of tests/tracking", {"tests that fail": failed if n_tests else 1})


@fault(
    "R20",
    "four processes create one SQLite store and log to it at once",
    {"points lost": Most(0), "lines on stderr": Most(0)},
)
def share_database(trial: Trial) -> Measured:
    n_steps, database = trial.count(200, 10), trial.folder / "new.db"

    def log() -> None:
        from ecgmtl.tracking.tracker import open_tracker

        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        tracker = open_tracker("ecgmtl")
        with tracker.run("run", tags={}, params={}):
            for step in range(n_steps):
                tracker.log_metrics({"a": 1.0, "b": 2.0}, step)

    from ecgmtl.tracking.store import import_mlflow

    import_mlflow()
    started = [forked(log, trial.folder, trial.folder / "log") for _ in range(4)]
    codes = [finish(process).code for process in started]
    with closing(sqlite3.connect(database)) as connection:
        ((found,),) = connection.execute("SELECT COUNT(*) FROM metrics WHERE key IN ('a', 'b')").fetchall()
    text = (trial.folder / "log").read_text()
    return Measured(
        f"4 processes, {n_steps} steps of 2 figures each",
        {"points lost": 8 * n_steps - found, "lines on stderr": len(text.splitlines()) + sum(map(bool, codes))},
    )


@fault(
    "R25",
    "made-up patient names in headers, tables and XML, searched for in all output of readers, checks and predictions",
    {"tests that fail": Most(0)},
)
def plant_names(_trial: Trial) -> Measured:
    failed, n_tests = tests_that_fail("tests/data_prep/test_names_in_messages.py")
    return Measured(f"{n_tests} tests of tests/data_prep/test_names_in_messages.py", {"tests that fail": failed})


@fault("R28", "`ecgmtl --help` and `--version`", {"--help": Most(0.5, "s"), "--version": Most(0.3, "s")})
def ask_for_help(trial: Trial) -> Measured:
    def fastest(option: str) -> float:
        times = []
        for _ in range(trial.count(10, 3)):
            before = processor_seconds()
            subprocess.run([sys.executable, "-m", "ecgmtl", option], stdout=subprocess.DEVNULL, cwd=ROOT, check=True)
            times.append(processor_seconds() - before)
        return float(np.median(times))

    return Measured(
        f"{trial.count(10, 3)} calls of each, median of processor seconds",
        {option: fastest(option) for option in ("--help", "--version")},
    )
