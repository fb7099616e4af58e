"""Paths of exports, which are checked before anything is loaded: nothing here imports torch."""

from pathlib import Path

from data_prep.errors import UserError

FORMATS = ("onnx", "pt2", "mlflow", "mlflow-files")
"""Formats of exports."""


class ExportError(UserError):
    """An export that failed or was rejected."""


def is_folder(to: str) -> bool:
    """Return whether an export to this format is a folder."""
    return to.startswith("mlflow")


def require_path(to: str, out: Path) -> None:
    """Raise ExportError if `to` is not a known format, or `out` is not a valid path for such an export."""
    if to not in FORMATS:
        raise ExportError(f"--to {to}: is not one of {', '.join(FORMATS)}.")
    if not is_folder(to) and out.suffix != f".{to}":
        raise ExportError(f"{out}: an export to {to} should end in .{to}.")
    if out.is_dir() and any(out.iterdir()):
        raise ExportError(f"{out}: is a folder that is not empty; choose a new one.")
    if is_folder(to) and out.is_file():
        raise ExportError(f"{out}: is a file, and an MLflow model is a folder; choose another --out.")
