"""Files of training states, from which an interrupted stage resumes.

A state is a torch file that is loaded with `weights_only`, so it cannot run code.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from data_prep.files import write_whole
from ecgmtl.checkpoint import CheckpointError


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, which may hold only tensors, numbers, strings, lists and dicts."""
    content = io.BytesIO()  # torch's own writer aborts the process on a full disk
    torch.save(state, content)
    write_whole(path, lambda beside: beside.write_bytes(content.getbuffer()))


def load_state(path: Path) -> dict[str, Any]:
    """Load a training state.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not check the checksums
        if damaged:
            raise ValueError(f"{damaged} is damaged")  # noqa: TRY301
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises six kinds of errors for damaged files
        raise CheckpointError(
            f"{path}: the training state is damaged ({error}); delete it to train the stage again."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path}: holds a {type(state).__name__}, not a training state; delete it to train the stage again."
        )
    return state
