"""Records a second from file to prediction, beside reading alone, and the memory it takes however many there are.

    python benchmarks/inference.py MODEL FOLDER [--links 100000]

With --links, a folder of that many links to the folder's records is made in a temporary place and predicted for.
"""

import argparse
import resource
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from data_prep.readers import ReadOptions, find_records, read_record
from ecgmtl.inference.predict import Prediction, predict
from ecgmtl.inference.predictor import load_predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--links", type=int, default=0)
    given = parser.parse_args()
    predictor = load_predictor(given.model)
    files = list(find_records([given.folder]))
    started = time.perf_counter()
    for path in files:
        predictor.metadata.preprocess(read_record(path))
    reading = (time.perf_counter() - started) / len(files)
    whole = timed(predictor, given.folder) / len(files)
    print(
        f"{len(files)} records: {1 / whole:.0f} records/s; reading and preparing is {reading / whole:.0%} of the time"
    )
    if given.links:
        with tempfile.TemporaryDirectory() as place:
            link(files, Path(place), given.links)
            before = peak_mb()
            seconds = timed(predictor, Path(place))
        rate = given.links / seconds
        print(
            f"{given.links} links: {rate:.0f} records/s, peak memory {before:.0f} MB before, {peak_mb():.0f} MB after"
        )


def timed(predictor, folder: Path) -> float:  # noqa: ANN001
    started = time.perf_counter()
    n_good = sum(isinstance(result, Prediction) for result in predict(predictor, [folder], ReadOptions()))
    if not n_good:
        raise SystemExit(f"{folder}: no record could be predicted")
    return time.perf_counter() - started


def link(files: list[Path], place: Path, n_links: int) -> None:
    """Headers are written anew, for they name their .dat; the samples are linked."""
    for number, path in enumerate(islice(cycle(files), n_links)):
        folder = place / f"{number // 1000:05d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.hea").write_text(path.read_text().replace(path.stem, str(number)))
        (folder / f"{number}.dat").hardlink_to(path.with_suffix(".dat"))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
