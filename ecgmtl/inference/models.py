"""Models by name: the bundled one, the runs in `runs/`, and those registered in MLflow.

Nothing here imports torch or MLflow, except the list of registered models.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from data_prep.errors import UserError
from data_prep.places import is_remote

BUNDLED = "ptbxl-superdiagnostic"
"""Name of the bundled classifier: the recipe `ptbxl`, trained on PTB-XL's diagnostic superclasses."""
BUNDLED_FILE = Path(__file__).parent / "bundled" / f"{BUNDLED}.onnx"
RUNS = Path("runs")
"""Folder of the runs, in the working folder."""
URIS = ("runs:/", "models:/", "mlflow-artifacts:/")
SUFFIXES = (".safetensors", ".onnx", ".pt2")
RUN, MLFLOW = "run.json", "MLmodel"
"""Files by which the folder of a run and that of an MLflow model are known."""
WEIGHTS = "model.safetensors"


class ModelNameError(UserError):
    """A name under which there is no model."""


class NamedModel(NamedTuple):
    """A model as `ecgmtl models` lists it."""

    kind: str
    """`bundled`, `run` or `registered`."""
    name: str
    """Name to pass for MODEL."""
    summary: str


def find_model(name: str) -> str:
    """Return the path or the URI of a model. `name` is one of these, the name of a run, or of the bundled model.

    The bundled model's name is its own; of others, what exists as a path takes precedence over a run. A path that does
    not exist is returned unchanged.

    Raises:
        ModelNameError: a bare name belongs to no model, or it is the address of a remote place.
    """
    if name == BUNDLED:
        return str(BUNDLED_FILE)
    if is_remote(name) and not name.startswith(URIS):
        raise ModelNameError(
            f"{name}: models are read from this computer or from MLflow; copy it here, and name its path."
        )
    if name.startswith(URIS) or Path(name).exists() or not _is_bare(name):
        return name
    if (RUNS / name / RUN).is_file():
        return str(RUNS / name)
    close = get_close_matches(name, [BUNDLED, *(path.name for path in _runs())], n=1)
    suggestion = f" Did you mean {close[0]}?" if close else ""
    raise ModelNameError(
        f"{name}: there is no file, run or bundled model of this name; `ecgmtl models` lists them.{suggestion}"
    )


def name_of(model: str | Path) -> str:
    """Return the name of the bundled model for its file, and for any other model its path or URI."""
    return BUNDLED if str(model) == str(BUNDLED_FILE) else str(model)


def _is_bare(name: str) -> bool:
    return Path(name).name == name and Path(name).suffix not in SUFFIXES


def is_model(name: str) -> bool:
    """Return whether an argument can only be a model: no ECG has such a path or name."""
    path = Path(name)
    if name == BUNDLED or name.startswith(URIS) or path.suffix in SUFFIXES:
        return True
    if path.exists():
        return (path / RUN).is_file() or (path / MLFLOW).is_file()
    return _is_bare(name) and (RUNS / name / RUN).is_file()


def split_model(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the model and the ECG files among the arguments of a prediction: [MODEL] PATH...

    The bundled model is returned where the first argument is not a model. A path that does not exist is never taken for
    an ECG if others follow it: it is more likely a misspelled model.

    Raises:
        ModelNameError: there is a model and no ECG, or the first argument may be a misspelled model.
    """
    first, rest = arguments[0], list(arguments[1:])
    if is_model(first):
        if not rest:
            raise ModelNameError(f"{first}: is a model; name the ECG files after it.")
        return find_model(first), rest
    if (inside := [path for path in sorted(Path(first).glob("*")) if (path / RUN).is_file()]) and Path(first).is_dir():
        raise ModelNameError(f"{first}: is a folder of runs; name one of them, for example {inside[-1]}.")
    if rest and not _exists(first):
        raise ModelNameError(
            f"{first}: is neither a model nor an ECG; there is no such file. `ecgmtl models` lists the models."
        )
    return str(BUNDLED_FILE), list(arguments)


def _exists(name: str) -> bool:
    """Return whether a path of an ECG leads to something: a file, a folder, a WFDB record, or files of a pattern.

    Of a remote place it is not known, since a model is never remote.
    """
    is_pattern = is_remote(name) or any(mark in name for mark in "*?[")
    return Path(name).exists() or Path(f"{name}.hea").exists() or is_pattern


def list_models() -> Iterator[NamedModel]:
    """Yield the bundled model, the runs in `runs/`, the newest first, and the models registered in MLflow."""
    yield NamedModel("bundled", BUNDLED, summarize_bundled())
    for path in sorted(_runs(), key=lambda run: (run / RUN).stat().st_mtime, reverse=True):
        yield NamedModel("run", path.name, _summarize_run(path))
    yield from (NamedModel("registered", uri, summary) for uri, summary in registered())


def registered() -> Iterator[tuple[str, str]]:
    """Yield the URI and a summary of each model that is registered in MLflow. Nothing is created by looking."""
    from ecgmtl.tracking.store import has_store

    if has_store():
        from ecgmtl.tracking.models import list_registered

        yield from list_registered()


def summarize_bundled() -> str:
    """Return the labels and the score of the bundled model."""
    from ecgmtl.inference.onnx_predictor import OnnxPredictor

    metadata = OnnxPredictor(BUNDLED_FILE).metadata
    return f"{', '.join(metadata.label_names)}; {metadata.score or 'not evaluated'}"


def score_of(run: Path) -> str:
    """Return the validation score of a run with its 95 % interval, or an empty text if it has no classifier.

    Raises:
        OSError, ValueError, LookupError, TypeError: the report is missing or damaged.
    """
    report = json.loads((run / "validation" / "metrics.json").read_text(encoding="utf-8"))
    if "classification" not in report:
        return ""
    return describe_score(report["classification"]["headline"]["macro_auroc"], report["n_records"])


def describe_score(macro_auroc: Mapping[str, float], n_records: int) -> str:
    """Return a macro AUROC on the validation split in words: its `value`, and `low` to `high` where it has these."""
    interval = f" (95 % interval {macro_auroc['low']:.4f} to {macro_auroc['high']:.4f})" if "low" in macro_auroc else ""
    return f"macro AUROC {macro_auroc['value']:.4f}{interval} on the validation split, {n_records} records"


def _runs() -> list[Path]:
    return [path.parent for path in RUNS.glob(f"*/{RUN}")]


def _summarize_run(path: Path) -> str:
    if not (path / WEIGHTS).is_file():
        return f"not finished; continue with: ecgmtl train --resume {path}"
    try:
        return score_of(path) or "finished, without a score"
    except (OSError, ValueError, LookupError, TypeError):
        return "finished; its report cannot be read"
