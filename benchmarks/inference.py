"""Measure the CPU time per record from WFDB files to a table of predictions, by stage, and that of a plain loop.

    python benchmarks/inference.py CHECKPOINT FOLDER [--model MODEL.onnx] [--records 512] [--rounds 5]

CHECKPOINT is a run or its .safetensors file; MODEL.onnx is the same classifier, exported (default: the bundled model).
Each round runs all stages in turn, in one thread, and the program prints medians over the rounds. Some stages have a
lower bound, measured on the same machine in the same round: the time to read the bytes of the files, to apply one
band-pass filter, to do the convolutions' arithmetic as a large matrix product, or to write the bytes of the table.

The plain loop reads a record with `wfdb`, filters it with SciPy, runs the checkpoint in eager mode on this record
alone, and writes its row. Times are processor times, because other processes may share the processor. The rate in
records/s assumes that each of the `--workers` (default: all cores) has a core of its own. The rate of the whole command
by the wall clock is printed, too.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import wfdb
from scipy.signal import butter, sosfiltfilt
from torch.utils.flop_counter import FlopCounterMode

from data_prep.filters import band_pass
from data_prep.parallel import n_cores
from data_prep.readers import files_of, find_records, read_record
from ecgmtl.inference.models import BUNDLED_FILE
from ecgmtl.inference.options import BATCH, PredictOptions
from ecgmtl.inference.parts import PredictionJob, finish, load_once, partial_table, pieces_of, predict_in_parts
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.table import open_predictions, row_of
from ecgmtl.inference.unlike_training import check_typicality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=str(BUNDLED_FILE))
    parser.add_argument("--records", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=n_cores())
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(arguments, Path(folder))
        rounds = [{name: timed(stage) for name, stage in stages.all().items()} for _ in range(arguments.rounds)]
        ms = {name: statistics.median(one[name] for one in rounds) / len(stages.files) * 1e3 for name in rounds[0]}
        print("| stage | ms per record | lower bound, ms | lower bound from |\n|---|--:|--:|---|")
        for name, limit in LIMITS.items():
            print(f"| {name} | {ms[name]:.3f} | {f'{ms[limit]:.3f} | {limit}' if limit else ' | '} |")
        ratios = sorted(one["plain loop"] / one["whole, ONNX"] for one in rounds)
        spread = f"{ratios[0]:.1f} to {ratios[-1]:.1f}"
        print(
            f"\nThe plain loop takes {statistics.median(ratios):.1f} times as long as the total with ONNX ({spread})."
        )
        print(f"A forward pass of the network takes {stages.flops / 1e6:.0f} MFLOP.")
        rate = arguments.workers / ms["whole, ONNX"] * 1e3
        print(f"ONNX with {arguments.workers} workers, a core each: {rate:.0f} records/s")
        started = time.perf_counter()
        stages.whole(arguments.model, arguments.workers)
        print(f"The same, by the wall clock: {len(stages.files) / (time.perf_counter() - started):.0f} records/s")


LIMITS = {
    "find": None,
    "read": "read the bytes",
    "preprocess and check": "one band-pass filter",
    "unlike training": None,
    "ONNX, with trees": "arithmetic",
    "checkpoint, without trees": "arithmetic",
    "measure and trees": None,
    "reconstruct": "arithmetic of reconstruction",
    "write": "write the bytes",
    "whole, ONNX": None,
    "whole, checkpoint": None,
    "plain loop": None,
}
"""Name of each stage's lower bound."""


class Stages:
    """Stages of prediction, as functions without arguments that process all records."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.out = arguments, folder / "p.csv"
        self.onnx = load_predictor(arguments.model, n_threads=1)
        self.torch = load_predictor(arguments.checkpoint, n_threads=1)
        self.preprocess, self.model = self.onnx.metadata.preprocess, self.torch.stored.model
        self.files = list(islice(find_records([arguments.folder]), arguments.records))
        self.results = list(predict(self.onnx, self.files))
        self.files = [result.path for result in self.results if hasattr(result, "probabilities")]
        self.records = [read_record(path) for path in self.files]
        self.signals = np.stack([self.preprocess(record).signal for record in self.records])
        self.bytes = [path for file in self.files for path in files_of(file)]
        self.flops, self.flops_reconstruct = count(self.classify), count(self.torch.reconstruction_rmse)
        self.square = torch.randn(512, 512)

    def all(self) -> dict[str, Callable[[], object]]:
        batches = [self.signals[first : first + BATCH] for first in range(0, len(self.signals), BATCH)]
        return {
            "find": lambda: sum(1 for _ in islice(find_records([self.arguments.folder]), len(self.files))),
            "read": lambda: [read_record(path) for path in self.files],
            "read the bytes": lambda: [path.read_bytes() for path in self.bytes],
            "preprocess and check": lambda: [self.preprocess(record) for record in self.records],
            "one band-pass filter": lambda: [band_pass(signal, 100, 0.5, 40) for signal in self.signals],
            "unlike training": lambda: [check_typicality(self.onnx.metadata.typicality, batch) for batch in batches],
            "ONNX, with trees": lambda: [self.onnx.logits(batch) for batch in batches],
            "checkpoint, without trees": lambda: [self.classify(batch) for batch in batches],
            "arithmetic": lambda: self.multiply(self.flops),
            "measure and trees": lambda: [self.measure(batch) for batch in batches],
            "reconstruct": lambda: [self.torch.reconstruction_rmse(batch) for batch in batches],
            "arithmetic of reconstruction": lambda: self.multiply(self.flops_reconstruct),
            "write": self.write,
            "write the bytes": lambda: self.out.write_bytes(bytes(300 * len(self.files))),
            "whole, ONNX": lambda: self.whole(self.arguments.model),
            "whole, checkpoint": lambda: self.whole(self.arguments.checkpoint),
            "plain loop": self.plain,
        }

    @torch.inference_mode()
    def classify(self, signals: np.ndarray) -> torch.Tensor:
        forest, self.model.forest = self.model.forest, None
        try:
            return self.model.classify(torch.from_numpy(signals))
        finally:
            self.model.forest = forest

    @torch.inference_mode()
    def measure(self, signals: np.ndarray) -> torch.Tensor:
        return self.model.forest(torch.from_numpy(signals))

    def multiply(self, flops_per_record: float) -> None:
        """Do the same number of FLOPs in matrix products."""
        for _ in range(round(flops_per_record * len(self.files) / (2 * 512**3))):
            self.square @ self.square

    def write(self) -> None:
        with open_predictions(self.out, self.onnx.metadata.label_names) as write:
            write([row_of(result) for result in self.results])

    def whole(self, model: str, workers: int = 1) -> None:
        options = PredictOptions(batch_size=BATCH)
        digest = load_once(str(model), options, 1)[1]
        job = PredictionJob(str(model), digest, self.out, options, n_threads=1)
        with partial_table(job):
            finish(job, len(list(predict_in_parts(job, pieces_of(job, self.files), workers))))

    @torch.inference_mode()
    def plain(self) -> None:
        sections = butter(2, (0.5, 40), "bandpass", fs=100, output="sos")
        with self.out.open("w") as file:
            writer = csv.writer(file)
            for path in self.files:
                record = wfdb.rdrecord(str(path.with_suffix("")))
                signal = sosfiltfilt(sections, record.p_signal.T - record.p_signal.mean(axis=0)[:, None]).astype("f4")
                probabilities = self.model.classify(torch.from_numpy(signal.copy())[None]).sigmoid()[0]
                writer.writerow([path, *probabilities.tolist()])


def count(function: Callable[[np.ndarray], object]) -> float:
    """Return the number of floating-point operations for one record."""
    with FlopCounterMode(display=False) as counter:
        function(np.zeros((1, 12, 1000), np.float32))
    return counter.get_total_flops()


def timed(function: Callable[[], object]) -> float:
    """Return the processor seconds of a call."""
    started = time.process_time()
    function()
    return time.process_time() - started


if __name__ == "__main__":
    main()
