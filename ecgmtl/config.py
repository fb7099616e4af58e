"""A whole run, as one typed tree. The defaults are a small three-stage run that synthetic ECGs need two minutes for."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError, field_validator

from data_prep.preprocess import Preprocess
from ecgmtl.augment import AugmentSettings
from ecgmtl.encoders import EncoderSettings
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.heads import ClassifierSettings, DecoderSettings
from ecgmtl.masking import MaskingSettings
from ecgmtl.model import N_INPUTS, MultiTaskModel
from ecgmtl.settings import Settings
from ecgmtl.stages import Stage
from ecgmtl.weighting.decay import DecaySettings
from ecgmtl.weighting.uncertainty import UncertaintySettings


class ConfigError(ValueError):
    """Settings that make no run; the message names file, key, what was found and what would do."""


JOINT = {"trains": ("encoder", "decoder", "classifier"), "losses": ("reconstruction", "classification")}
CROPS = AugmentSettings(crop_seconds=5.0, shift=True)
STAGES = (
    Stage(name="pretrain", trains=("encoder", "decoder"), losses=("reconstruction",), epochs=4, augment=CROPS),
    Stage(
        name="joint",
        **JOINT,
        epochs=8,
        weighting=UncertaintySettings(),
        masking=MaskingSettings(share=0.5),
        augment=CROPS,
    ),
    Stage(
        name="decay",
        **JOINT,
        epochs=4,
        weighting=DecaySettings(start=0.5),
        masking=MaskingSettings(share=0.5),
        augment=CROPS,
    ),
)


class Config(Settings):
    name: str = "quick"
    """What the run is called, in its folder and in MLflow."""
    seed: int = 0
    labels: str | None = None
    """The label set to learn; the one the store was prepared for when absent."""
    auxiliary_labels: str | None = None
    """A second label set, for the task auxiliary_classification."""
    unlabelled: Literal["keep", "drop"] = "keep"
    """What happens in training to records without a label of the set; those kept count as having none of them."""
    preprocess: Preprocess = Preprocess()
    encoder: EncoderSettings = CnnSettings()
    decoder: DecoderSettings = DecoderSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    stages: tuple[Stage, ...] = STAGES
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of training; auto is bf16 where the processor computes in it. Evaluation is always fp32."""
    compile: bool = False
    """Compile the network before training: up to a minute at the start, worth it in long runs only."""
    deterministic: bool = False
    """Refuse operations whose result depends on the order of threads; a GPU needs it to repeat a run bit for bit."""

    @field_validator("stages")
    @classmethod
    def names_differ(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        names = [stage.name for stage in stages]
        if len(set(names)) < len(names) or not names:
            raise ValueError(f"stages need names that differ; found {', '.join(names) or 'no stage'}")
        return stages

    def build_model(self, n_labels: int, n_auxiliary_labels: int = 0) -> MultiTaskModel:
        encoder = self.encoder.build(N_INPUTS)
        head = self.classifier
        return MultiTaskModel(
            encoder,
            self.decoder.build(encoder.n_features, encoder.stride),
            head.build(encoder.n_features, n_labels),
            head.build(encoder.n_features, n_auxiliary_labels) if n_auxiliary_labels else None,
        )


def load_config(path: Path | None, overrides: tuple[str, ...] = ()) -> Config:
    """Read a YAML file, or take the defaults; each override is `dotted.key=value`, as in `stages.0.epochs=3`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, a value does not do.
    """
    source = str(path) if path else "config"
    config = Config() if path is None else parse_config(read_yaml(path), source)
    if not overrides:
        return config
    tree = config.model_dump(mode="json")
    for override in overrides:
        dotted, given, value = override.partition("=")
        if not given:
            raise ConfigError(f"--set {override}: should be key=value, as in --set stages.0.epochs=3.")
        set_key(tree, dotted, yaml.safe_load(value))
    return parse_config(tree, source)


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """The config that a tree of plain values spells; `source` names it in errors."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [f"{source}: {explain(found)}" for found in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: should hold settings as `key: value`; found {type(tree).__name__}.")
    return tree


def set_key(tree: Any, dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    try:
        for key in parents:
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        if last == "kind" and tree[last] != value:
            tree.clear()  # the options of one kind mean nothing to another
        tree[int(last) if isinstance(tree, list) else last] = value
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"--set {dotted}: there is no such place in the config.") from error


def explain(found: Any) -> str:
    """One line for one mistake: where it is, and what is wrong there."""
    where = ".".join(str(key) for key in found["loc"])
    if found["type"] == "union_tag_invalid":
        known = found["ctx"]["expected_tags"].replace("'", "")
        return f"{where}.kind: '{found['ctx']['tag']}' is not one of {known}."
    if found["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: there is no such setting; is it misspelt?"
    return f"{where}: {found['msg'].removeprefix('Value error, ')}; found {found['input']!r}."
