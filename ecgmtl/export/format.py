"""Formats of exports, and the paths that fit them. These are checked before torch is imported, which nothing here does.

To add a format, list it here, write its function in WRITERS of `write`, and let `ecgmtl.inference.predictor` open it.
The suffix of a file is also listed in EXPORTS of `ecgmtl.inference.models`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal

from data_prep.errors import UserError

ReductionName = Literal["int8", "fp16"]
"""Name of a way of writing an ONNX file in fewer bits, as on the command line."""


class ExportError(UserError):
    """An export that failed or was rejected."""


class ExportFormat(StrEnum):
    """Format of an export: a file whose suffix is the format's name, or a folder."""

    ONNX = "onnx", "runs without torch; needs `pip install 'ecgmtl[onnx]'`"
    PT2 = "pt2", "a torch program"
    MLFLOW = "mlflow", "an MLflow model folder that takes arrays and needs torch alone", True
    MLFLOW_FILES = (
        "mlflow-files",
        "one that takes ECG files or arrays, with all checks, and needs ecgmtl and onnxruntime",
        True,
    )

    description: str
    is_folder: bool

    def __new__(cls, name: str, description: str, is_folder: bool = False) -> "ExportFormat":
        """Return the format of this name."""
        member = str.__new__(cls, name)
        member._value_, member.description, member.is_folder = name, description, is_folder
        return member


def require_path(to: str, out: Path) -> ExportFormat:
    """Return the format of this name.

    Raises:
        ExportError: there is no such format, or `out` is not a valid path for such an export.
    """
    form = next((form for form in ExportFormat if form == to), None)
    if form is None:
        raise ExportError(f"--to {to}: is not one of {', '.join(ExportFormat)}.")
    if not form.is_folder and out.suffix != f".{to}":
        raise ExportError(f"{out}: an export to {to} should end in .{to}.")
    if out.is_dir() and any(out.iterdir()):
        raise ExportError(f"{out}: is a folder that is not empty; choose a new one.")
    if form.is_folder and out.is_file():
        raise ExportError(f"{out}: is a file, and an MLflow model is a folder; choose another --out.")
    return form
