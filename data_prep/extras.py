"""Packages that only an extra of ecgmtl installs: pip install 'ecgmtl[onnx]'."""

import os
from importlib import import_module
from typing import Any

from data_prep.errors import UserError

EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "ray": "ray", "h5py": "hdf5"}
"""Extra that installs each package. Any other package comes with ecgmtl itself."""


class MissingExtraError(UserError):
    """A package of an extra that cannot be imported; the message says what to install."""


def import_extra(package: str, wanted_by: str) -> Any:
    """Import a package that a plain installation lacks. `wanted_by` begins the error: a file, an option.

    Raises:
        MissingExtraError: it is not installed, or broken.
    """
    # onnxruntime 1.31 writes usage data into a database and sends them to its maker, unless this is set before.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(package)
    except ImportError as error:
        reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
        todo = f"pip install 'ecgmtl[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package}"
        raise MissingExtraError(f"{wanted_by}: the package {package} {reason}; to install it: {todo}") from error
