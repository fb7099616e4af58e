"""List of the models that can be named, each with its score. MLflow is imported only where it has a store."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ecgmtl.inference.models import BUNDLED, BUNDLED_FILE, runs
from ecgmtl.inference.onnx_predictor import OnnxPredictor
from ecgmtl.inference.run_score import score_of
from ecgmtl.run_files import MODEL, RUN


class NamedModel(NamedTuple):
    """A model as `ecgmtl models` lists it."""

    kind: str
    """`bundled`, `run` or `registered`."""
    name: str
    """Name to pass for MODEL."""
    summary: str


def list_models() -> Iterator[NamedModel]:
    """Yield the bundled model, the runs in `runs/`, the newest first, and the models registered in MLflow."""
    yield NamedModel("bundled", BUNDLED, summarize_bundled())
    for path in sorted(runs(), key=lambda run: (run / RUN).stat().st_mtime, reverse=True):
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
    metadata = OnnxPredictor(BUNDLED_FILE).metadata
    return f"{', '.join(metadata.label_names)}; {metadata.score or 'not evaluated'}"


def _summarize_run(path: Path) -> str:
    if not (path / MODEL).is_file():
        return f"not finished; continue with: ecgmtl train --resume {path}"
    try:
        return score_of(path) or "finished, without a score"
    except (OSError, ValueError, LookupError, TypeError):
        return "finished; its report cannot be read"
