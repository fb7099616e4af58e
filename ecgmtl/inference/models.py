"""Models by name: the bundled one, the runs in `runs/`, and those of MLflow, none of which is opened here."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from data_prep.errors import UserError
from data_prep.places import is_remote
from ecgmtl.run_files import RUN, is_run

BUNDLED = "ptbxl-superdiagnostic"
"""Name of the bundled classifier: the recipe `ptbxl`, trained on PTB-XL's diagnostic superclasses."""
BUNDLED_FILE = Path(__file__).parent / "bundled" / f"{BUNDLED}.onnx"
RUNS = Path("runs")
"""Folder of the runs, in the working folder."""
URIS = ("runs:/", "models:/", "mlflow-artifacts:/")
EXPORTS = (".onnx", ".pt2")
"""Suffixes of exported files."""
SUFFIXES = (".safetensors", *EXPORTS)
MLFLOW = "MLmodel"
"""File by which the folder of an MLflow model is known."""


class ModelNameError(UserError):
    """A name that belongs to no model."""


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
    if is_run(RUNS / name):
        return str(RUNS / name)
    close = get_close_matches(name, [BUNDLED, *(path.name for path in runs())], n=1)
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
        return is_run(path) or (path / MLFLOW).is_file()
    return _is_bare(name) and is_run(RUNS / name)


def is_export(model: str) -> bool:
    """Return whether a path or URI is that of an export: a file, the folder of an MLflow model, or one in MLflow."""
    path = Path(model)
    return model.startswith(URIS) or path.suffix in EXPORTS or (path / MLFLOW).is_file()


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
    if (inside := [path for path in sorted(Path(first).glob("*")) if is_run(path)]) and Path(first).is_dir():
        raise ModelNameError(f"{first}: is a folder of runs; name one of them, for example {inside[-1]}.")
    if rest and not _exists(first):
        raise ModelNameError(
            f"{first}: is neither a model nor an ECG; there is no such file. `ecgmtl models` lists the models."
        )
    return str(BUNDLED_FILE), list(arguments)


def _exists(name: str) -> bool:
    """Return whether a path of an ECG leads to something: a file, a folder, a WFDB record, or files of a pattern.

    A remote address counts as one that does, because a model is never remote.
    """
    is_pattern = is_remote(name) or any(mark in name for mark in "*?[")
    return Path(name).exists() or Path(f"{name}.hea").exists() or is_pattern


def runs() -> list[Path]:
    """Return the folders of all runs in `runs/`."""
    return [path.parent for path in RUNS.glob(f"*/{RUN}")]
