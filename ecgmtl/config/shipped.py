"""The shipped configs, found by name: `--config ptbxl`, `ecgmtl compare pretraining`.

The first sentence of the comment at its top describes a config, and that of its `_base.yaml` a folder of arms.
"""

import json
from collections.abc import Collection, Sequence
from itertools import takewhile
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from ecgmtl.config.parse import ConfigError

if TYPE_CHECKING:
    from ecgmtl.config.run import Config
    from ecgmtl.config.stage import Stage

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "configs" if (PACKAGE / "configs").is_dir() else PACKAGE.parent / "configs"
"""Folder of the shipped configs, inside the installed package or beside it in the repository."""
RECIPE = "ptbxl"
"""Default config for real records."""
WIDTH = 110
"""Largest number of characters of a description in a list."""


def config_names() -> tuple[str, ...]:
    """Return the names of the shipped configs."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def arm_names() -> tuple[str, ...]:
    """Return the names of the shipped folders of arms."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/_base.yaml")))


def find_config(path: Path) -> Path:
    """Return the file itself, or the shipped config of this name: `ptbxl`, or `configs/ptbxl.yaml` from anywhere.

    Raises:
        ConfigError: there is neither.
    """
    if path.is_file():
        return path
    names = config_names()
    for name in names:
        if path in (Path(name), Path("configs") / f"{name}.yaml"):
            return FOLDER / f"{name}.yaml"
    reason = "is a folder, and a config is a YAML file" if path.is_dir() else "no such file"
    raise ConfigError(f"{path}: {reason}; the shipped configs are {', '.join(names)}.")


def load_recipe(label_sets: Collection[str], overrides: Sequence[str] = ()) -> "tuple[Config, list[str]]":
    """Return the shipped recipe for records with these label sets, and the auxiliary label sets that it lost thereby.

    Raises:
        ConfigError: an override names no setting, or its value is not allowed.
    """
    from ecgmtl.config.run import load_config

    file = FOLDER / f"{RECIPE}.yaml"
    whole = load_config(file)
    dropped = [name for name in whole.auxiliary_labels if name not in label_sets]
    return load_config(file, (*without_label_sets(whole, dropped), *overrides)), dropped


def without_label_sets(config: "Config", names: Collection[str]) -> list[str]:
    """Return the overrides that remove these auxiliary label sets from a config whose weighting names none of them."""
    from ecgmtl.tasks import PREFIX

    kept = [name for name in config.auxiliary_labels if name not in names]
    overrides = [f"auxiliary_labels={json.dumps(kept)}"] if names else []
    for index, stage in enumerate(config.stages):
        losses = [task for task in stage.losses if task.removeprefix(PREFIX) not in names]
        if len(losses) < len(stage.losses):
            learns_others = any(task.startswith(PREFIX) for task in losses)
            trains = [part for part in stage.trains if part != "auxiliary_classifiers" or learns_others]
            views = {task: view for task, view in stage.views.items() if task in losses}
            changes = {"losses": losses, "trains": trains, "views": views}
            overrides += [f"stages.{index}.{setting}={json.dumps(value)}" for setting, value in changes.items()]
    return overrides


def find_arms(path: Path) -> Path:
    """Return the folder itself where it has YAML files, or the shipped folder of arms of this name.

    Raises:
        ConfigError: there is neither.
    """
    if path.is_dir() and any(path.glob("*.yaml")):
        return path
    names = arm_names()
    for name in names:
        if path in (Path(name), Path("configs") / name):
            return FOLDER / name
    reason = "no arm is in this folder" if path.is_dir() else "no such folder"
    shipped = ", ".join(f"configs/{name}" for name in names)
    raise ConfigError(f"{path}: {reason}; arms are the .yaml files of one, as in the shipped {shipped}.")


def describe_shipped() -> str:
    """List every shipped config and every shipped folder of arms, each in a line."""
    configs = [line(name, FOLDER / f"{name}.yaml") for name in config_names()]
    arms = [line(f"configs/{name}", FOLDER / name / "_base.yaml") for name in arm_names()]
    last = "'ecgmtl show NAME' prints the settings of a config."
    return "\n".join(["For ecgmtl train --config NAME:", *configs, "", "For ecgmtl compare NAME:", *arms, "", last])


def line(name: str, path: Path) -> str:
    """Return the line of one config in the list."""
    return f"  {name:19}  {shorten(first_sentence(path), WIDTH, placeholder=' …')}"


def first_sentence(path: Path) -> str:
    """Return the first sentence of the comment at the top of a config."""
    lines = takewhile(lambda text: text.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(text.removeprefix("#").strip() for text in lines).partition(". ")[0].removesuffix(".") + "."


def with_stage(name: str) -> "dict[str, Stage]":
    """Return the stage of this name in each shipped config that has one, by config."""
    from ecgmtl.config.run import load_config

    configs = {config: load_config(FOLDER / f"{config}.yaml") for config in config_names()}
    return {config: stage for config, whole in configs.items() for stage in whole.stages if stage.name == name}
