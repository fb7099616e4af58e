"""The command line on small artificial data, as the tests of the main job and the measurements of faults call it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = [
    "--config", "quick",
    "--set", "encoder.widths=[8, 16, 16]", "--set", "decoder.width=16",
    "--set", "stages.0.epochs=2", "--set", "stages.1.epochs=3", "--set", "stages.2.epochs=1",
    "--set", "stages.0.batch_size=16", "--set", "stages.1.batch_size=16", "--set", "stages.2.batch_size=16",
    "--set", "precision=fp32",
]  # fmt: skip
"""A training of a second or two, of all three stages."""
EPOCHS = [("pretrain", 0), ("pretrain", 1), ("joint", 0), ("joint", 1), ("joint", 2), ("decay", 0)]
"""Stages and epochs of this training, in their order."""


def start(folder, *arguments):
    """The command as a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ecgmtl", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)
