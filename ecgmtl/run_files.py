"""Names of the files in the folder of a training run. Modules that do without torch find its model by them."""

from pathlib import Path

RUN = "run.json"
"""Data, command and ids of the run in MLflow. A folder that has it is the folder of a run."""
CONFIG = "config.yaml"
HISTORY = "history.jsonl"
MODEL = "model.safetensors"
"""Model of a run or of a stage, once it is finished."""
CARD = "model_card.md"
VALIDATION = "validation"
"""Folder of the report on the validation split."""
METRICS = "metrics.json"
"""Figures of a report, in its folder."""


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a training run."""
    return (path / RUN).is_file()
