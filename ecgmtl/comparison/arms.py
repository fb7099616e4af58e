"""Arms of a comparison: one YAML file per arm, which states what differs from a base config.

    about: Uncertainty weighting (Kendall et al., 2018).
    base: _base.yaml
    set: {stages.0.weighting: {kind: uncertainty}}

Files whose names begin with an underscore are not arms.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator

from ecgmtl.config.parse import ConfigError, explain, read_yaml, set_key
from ecgmtl.config.run import Config, load_config, parse_config
from ecgmtl.config.shipped import find_arms
from ecgmtl.settings import Settings

RATES = {"stages.*.optimizer.lr": (5e-4, 5e-3)}


class ArmFile(Settings):
    """The content of an arm's file."""

    about: str
    """Description of the arm in the report."""
    base: str = "_base.yaml"
    """Config that the arm starts from, as a path relative to the arm's file."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Settings that differ from the base, by dotted key."""
    group: str = ""
    """Group of arms that are plotted together."""
    control: bool = False
    """Whether the arm is the control of a method."""
    seeds: PositiveInt | None = None
    """Maximum number of seeds."""
    search: dict[str, tuple[PositiveFloat, PositiveFloat]] = Field(default_factory=lambda: dict(RATES))
    """Ranges that tuning covers evenly on a logarithmic scale, by dotted key. An asterisk stands for every stage."""

    @field_validator("search")
    @classmethod
    def ranges_rise(cls, search: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for key, (low, high) in search.items():
            if low >= high:
                raise ValueError(f"{key}: the range should rise; found {low} to {high}")
        return search


KEYS = f"the file of an arm has {', '.join(ArmFile.model_fields)}; settings of its runs go into `set`, by dotted key"


class Arm(NamedTuple):
    """One way of training, with the config that its file and the base give."""

    name: str
    file: ArmFile
    config: Config
    base: Config
    """Config that the arm starts from, with the changes of the command line."""
    folder: Path
    """Folder of the arm's file."""

    def seeds(self, requested: int) -> range:
        """Return the seeds to run: those requested, or fewer if the arm's file limits them."""
        return range(min(requested, self.file.seeds or requested))

    def settings_to_try(self, n: int) -> list[dict[str, float]]:
        """Return `n` settings, the same in every call, or none if the arm's file has nothing to search.

        The first one, which is empty, is the arm as it is. The others are points of a Sobol sequence, which leaves no
        part of the ranges out.
        """
        if not self.file.search or not n:
            return []
        from scipy.stats.qmc import Sobol  # importing it takes a second, and only tuning needs it

        low, high = np.log(list(self.file.search.values())).T
        sequence = Sobol(len(low), scramble=False).fast_forward(1)  # its first point is the corner of the ranges
        tried = np.exp(low + sequence.random(n - 1) * (high - low)).tolist()
        return [{}, *(dict(zip(self.file.search, values, strict=True)) for values in tried)]

    def with_settings(self, settings: dict[str, Any], source: str) -> Config:
        """Return the arm's config with some settings changed. An asterisk in a key stands for every stage."""
        return changed(self.config, expand(settings, len(self.config.stages)), source)


def load_arms(folder: Path, only: Sequence[str] = (), overrides: Iterable[str] = ()) -> list[Arm]:
    """Load the arms of a folder, or only those named in `only`.

    Overrides from the command line change the base config. Settings in an arm's file take precedence.

    Raises:
        ConfigError: the folder or an arm does not exist, or an arm's file gives no valid config.
    """
    folder = find_arms(folder)
    paths = {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("_")}
    missing = sorted(set(only) - set(paths))
    if missing or not paths:
        what = f"there is no arm {', '.join(missing)}" if missing else "there is no arm, which is a .yaml file"
        raise ConfigError(f"{folder}: {what}; found {', '.join(paths) or 'none'}.")
    return [load_arm(path, tuple(overrides)) for name, path in paths.items() if name in only or not only]


def load_arm(path: Path, overrides: tuple[str, ...] = ()) -> Arm:
    """Load one arm from its file."""
    tree = read_yaml(path)
    try:
        file = ArmFile.model_validate(tree)
    except ValidationError as error:
        lines = [f"{path}: {explain(mistake, tree, KEYS)}" for mistake in error.errors()]
        raise ConfigError("\n".join(lines)) from None
    base = load_config(path.parent / file.base, overrides)
    config = changed(base, file.set | {"name": path.stem}, str(path))
    if not config.learns_to_classify(config.stages[-1].name):
        raise ConfigError(
            f"{path}: no stage learns classification, by which arms are compared; add it to the losses of a stage."
        )
    return Arm(path.stem, file, config, base, path.parent)


def changed(config: Config, settings: dict[str, Any], source: str) -> Config:
    """Return the config with some settings changed, naming `source` in errors."""
    tree = config.model_dump(mode="json")
    for key, value in settings.items():
        try:
            set_key(tree, key, value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {str(error).removeprefix('--set ')}") from None
    return parse_config(tree, source)


def expand(settings: dict[str, Any], n_stages: int) -> dict[str, Any]:
    """Replace the asterisk in keys by the index of every stage."""
    keys = {key: [key.replace("*", str(stage)) for stage in range(n_stages)] for key in settings}
    return {expanded: settings[key] for key, names in keys.items() for expanded in dict.fromkeys(names)}
