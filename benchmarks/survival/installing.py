"""An installation that is killed, in a folder whose name has a space."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.survival.processes import ROOT
from benchmarks.survival.registry import Measured, Most, Trial, fault

WRITTEN = ("run/model.safetensors", "report/reconstruction.png", "predictions.csv")
"""Files that `make demo` writes."""
CUDA = ("nvidia-", "cuda-", "triton")
"""Beginnings of the names of packages that only CUDA needs."""


@fault(
    "R27",
    "`make demo` in a new folder with a space in its name, without uv, after pip was killed (pip finds torch without "
    "CUDA)",
    {"demos that fail": Most(0), "packages of CUDA": Most(0)},
)
def kill_pip(trial: Trial) -> Measured:
    folder, chance, n_kills = trial.folder / "a new folder", trial.chance, trial.count(5)
    copy_repository(folder)
    environment = without_uv()
    make = ("make", f"PY={sys.base_prefix}/bin/python3")
    pip = folder / ".venv/bin/pip"
    for _ in range(n_kills):
        process = subprocess.Popen([*make, ".venv"], cwd=folder, env=environment, start_new_session=True)
        while not pip.is_file() and process.poll() is None:
            time.sleep(0.1)
        time.sleep(chance.uniform(0, 30))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run([*make, "demo"], cwd=folder, env=environment, check=False)
    failed = done.returncode != 0 or not all((folder / "demo" / name).is_file() for name in WRITTEN)
    listed = subprocess.run([pip, "list", "--format=freeze"], env=environment, stdout=subprocess.PIPE, check=True)
    return Measured(
        f"1 demonstration after {n_kills} kills",
        {"demos that fail": int(failed), "packages of CUDA": count_cuda(listed.stdout.decode())},
    )


def copy_repository(folder: Path) -> None:
    """Copy the files that git tracks."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in names.split("\0")[:-1]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def without_uv() -> dict[str, str]:
    """Return the environment without uv, and without the settings of the Python that runs here."""
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "uv").exists()]
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {"PATH": os.pathsep.join(folders)}


def count_cuda(listed: str) -> int:
    """Return how many packages in the output of `pip list` only CUDA needs."""
    return sum(line.lower().startswith(CUDA) for line in listed.splitlines())
