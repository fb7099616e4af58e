"""Arms of a comparison: one YAML file an arm, which says what differs from a base config.

    about: Uncertainty weighting (Kendall et al., 2018).
    base: _base.yaml
    set: {stages.0.weighting: {kind: uncertainty}}

A file whose name begins with an underscore is no arm.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator
from scipy.stats import loguniform
from sklearn.model_selection import ParameterSampler

from ecgmtl.config.run import Config, ConfigError, explain, load_config, parse_config, read_yaml, set_key
from ecgmtl.config.shipped import find_arms
from ecgmtl.settings import Settings

RATES = {"stages.*.optimizer.lr": (5e-4, 5e-3)}


class ArmFile(Settings):
    about: str
    """What the arm does, for readers of the report."""
    base: str = "_base.yaml"
    """The config that it starts from, a path from where the arm's file is."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What is other there, by dotted key."""
    group: str = ""
    """Arms of a group are drawn together."""
    control: bool = False
    """Whether the arm is no method but the control of one."""
    seeds: PositiveInt | None = None
    """At most so many."""
    search: dict[str, tuple[PositiveFloat, PositiveFloat]] = Field(default_factory=lambda: dict(RATES))
    """What tuning draws, by dotted key, log-uniformly between two numbers; * stands for every stage."""

    @field_validator("search")
    @classmethod
    def ranges_rise(cls, search: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for key, (low, high) in search.items():
            if low >= high:
                raise ValueError(f"{key} should lie between a smaller number and a larger one, not {low} and {high}")
        return search


class Arm(NamedTuple):
    name: str
    said: ArmFile
    config: Config
    base: Config
    """Config that the arm starts from, with the changes of the command line."""
    folder: Path
    """Folder of the arm's file."""

    def seeds(self, asked: int) -> range:
        return range(min(asked, self.said.seeds or asked))

    def draws(self, n: int) -> list[dict[str, float]]:
        """So many settings to try, the same whenever asked; none where the arm's file has nothing to search."""
        if not self.said.search:
            return []
        space = {key: loguniform(low, high) for key, (low, high) in self.said.search.items()}
        return [{k: float(v) for k, v in drawn.items()} for drawn in ParameterSampler(space, n, random_state=0)]

    def with_settings(self, settings: dict[str, Any], source: str) -> Config:
        """The arm's config with some settings changed; a key may have * for every stage."""
        return changed(self.config, expand(settings, len(self.config.stages)), source)


def load_arms(folder: Path, only: Sequence[str] = (), overrides: Iterable[str] = ()) -> list[Arm]:
    """The arms of a folder, those named in `only` where any is.

    The overrides of the command line change the base that they start from; what an arm's file sets stays.

    Raises:
        ConfigError: no such folder or arm, or an arm's file makes no config.
    """
    folder = find_arms(folder)
    found = {path.stem: path for path in sorted(folder.glob("*.yaml")) if not path.name.startswith("_")}
    missing = sorted(set(only) - set(found))
    if missing or not found:
        what = f"no arm {', '.join(missing)}" if missing else "no arm, which is a .yaml file"
        raise ConfigError(f"{folder}: {what}; there is {', '.join(found) or 'none'}.")
    return [load_arm(path, tuple(overrides)) for name, path in found.items() if name in only or not only]


def load_arm(path: Path, overrides: tuple[str, ...] = ()) -> Arm:
    tree = read_yaml(path)
    try:
        said = ArmFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {explain(found, tree)}" for found in error.errors())) from None
    base = load_config(path.parent / said.base, overrides)
    config = changed(base, said.set | {"name": path.stem}, str(path))
    if not config.learns_to_classify(config.stages[-1].name):
        raise ConfigError(f"{path}: no stage learns classification, by which arms are compared.")
    return Arm(path.stem, said, config, base, path.parent)


def changed(config: Config, settings: dict[str, Any], source: str) -> Config:
    tree = config.model_dump(mode="json")
    for key, value in settings.items():
        try:
            set_key(tree, key, value)
        except ConfigError as error:
            raise ConfigError(f"{source}: {str(error).removeprefix('--set ')}") from None
    return parse_config(tree, source)


def expand(settings: dict[str, Any], n_stages: int) -> dict[str, Any]:
    keys = {key: [key.replace("*", str(place)) for place in range(n_stages)] for key in settings}
    return {place: settings[key] for key, places in keys.items() for place in dict.fromkeys(places)}
