"""A whole run, as one typed tree. The defaults are a small three-stage run that synthetic ECGs need two minutes for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, ValidationError, field_validator, model_validator

from data_prep.errors import UserError
from data_prep.preprocess import Preprocess
from ecgmtl.config.parse import StrictYamlError, load_yaml
from ecgmtl.config.stage import UNTRAINED, Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.encoders import EncoderSettings
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.forest.forest import ForestSettings
from ecgmtl.model.heads import ClassifierSettings, DecoderSettings
from ecgmtl.model.network import MAIN, N_INPUTS, RECONSTRUCTION, MultiTaskModel
from ecgmtl.model.sharing import SharingSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.settings import Name, Settings
from ecgmtl.tasks import PREFIX, TASKS, ModelFacts, Task, build_task


class ConfigError(UserError):
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
    name: Name = "quick"
    """What the run is called, in its folder and in MLflow."""
    seed: NonNegativeInt = 0
    labels: str | None = None
    """The label set to learn; the one the store was prepared for when absent."""
    auxiliary_labels: tuple[str, ...] = ()
    """More label sets, each with a classifier of its own: the tasks classification_<label set>."""
    validation_fold: int | None = None
    """Validate on this fold and train on the others that are not for testing; the store's own split when absent."""
    label_share: float = Field(1.0, gt=0, le=1)
    """Of the training patients, how many have labels; the signals of the others are there for reconstruction alone."""
    unlabelled: Literal["keep", "drop"] = "keep"
    """What happens in training to records without a label of the set; those kept count as having none of them."""
    preprocess: Preprocess = Preprocess()
    encoder: EncoderSettings = CnnSettings()
    sharing: SharingSettings = HardSettings()
    """How the tasks share the encoder."""
    decoder: DecoderSettings = DecoderSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    forest: ForestSettings | None = None
    """Trees on what is measured of a record, whose logits are added to the network's; grown after the last stage."""
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
        if UNTRAINED in names:
            raise ValueError(f"a stage cannot be called {UNTRAINED}, which is what a stage may start from")
        return stages

    @field_validator("stages")
    @classmethod
    def stages_build_on_earlier_ones(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        for place, stage in enumerate(stages):
            earlier = {before.name: before for before in stages[:place]}
            if stage.start not in (None, UNTRAINED, *earlier):
                raise ValueError(
                    f"stage '{stage.name}' starts from '{stage.start}'; there is {', '.join((*earlier, UNTRAINED))}"
                )
            for teacher in {later.name for later in stages[place:]}.intersection(stage.teachers):
                raise ValueError(f"stage '{stage.name}' has the teacher '{teacher}', which has to come before it")
            for teacher in set(earlier).intersection(stage.teachers):
                if not earlier[teacher].classifies:
                    raise ValueError(f"stage '{stage.name}' has the teacher '{teacher}', which does not learn {MAIN}")
        return stages

    @model_validator(mode="after")
    def forest_has_a_classifier(self) -> "Config":
        if self.forest and not self.learns_to_classify(self.stages[-1].name):
            raise ValueError(
                f"forest stands beside a classifier, but no stage that the last one builds on has {MAIN} among its "
                f"losses; leave it out"
            )
        return self

    @model_validator(mode="after")
    def stages_fit_the_model(self) -> "Config":
        self.sharing.check(self.trunks)
        for stage in self.stages:
            for task in stage.tasks:
                task.check_model(stage.name, self.facts)
            if stage.meets_in_encoder and not self.sharing.has_shared_parameters:
                methods = " and ".join(stage.meets_in_encoder)
                raise ValueError(
                    f"stage '{stage.name}': {methods} needs parameters that tasks share; {self.sharing.kind} has none"
                )
        return self

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(self.decoder, self.classifier, self.auxiliary_labels)

    def tasks_with_heads(self, auxiliary: Iterable[str]) -> tuple[Task, ...]:
        """Return the tasks that have a head, in its order: those of every model, then those that a stage learns."""
        always = (RECONSTRUCTION, MAIN, *(PREFIX + name for name in auxiliary))
        learnt = (name for name in TASKS if name not in always and self.learns(name))
        return tuple(task for task in map(build_task, (*always, *learnt)) if task.reads == task.name)

    @property
    def trunks(self) -> dict[str, str]:
        """By head, which of two encoders it reads."""
        return {task.name: task.trunk for task in self.tasks_with_heads(self.auxiliary_labels)}

    def build_model(self, n_labels: int, n_auxiliary: dict[str, int] | None = None) -> MultiTaskModel:
        """Build an untrained model; `n_auxiliary` gives the number of labels of each further label set."""
        auxiliary = n_auxiliary or {}
        counts = {MAIN: n_labels, **{PREFIX + name: count for name, count in auxiliary.items()}}
        tasks = self.tasks_with_heads(auxiliary)
        shared = self.sharing.build(self.encoder, N_INPUTS, {task.name: task.trunk for task in tasks})
        heads = {}
        for task in sorted(tasks, key=lambda task: not task.name.startswith(PREFIX)):  # the order of random weights
            name = task.name
            heads[name] = task.build_head(shared.n_features(name), shared.stride(name), counts.get(name, 0), self.facts)
        return MultiTaskModel(shared, {task.name: head for task in tasks if (head := heads[task.name]) is not None})

    def place_of(self, stage: str) -> int:
        """Of the stage of this name among all."""
        return [each.name for each in self.stages].index(stage)

    def lineage(self, last: str) -> tuple[Stage, ...]:
        """The stages that the weights after the stage `last` went through, in their order."""
        place = self.place_of(last)
        stage = self.stages[place]
        start = stage.start or (self.stages[place - 1].name if place else UNTRAINED)
        return (stage,) if start == UNTRAINED else (*self.lineage(start), stage)

    def learns_to_classify(self, last: str) -> bool:
        """Whether the weights after the stage `last` ever did."""
        return any(stage.classifies for stage in self.lineage(last))

    def learns(self, task: str) -> bool:
        return any(task in stage.losses for stage in self.stages)


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
        set_key(tree, dotted, read_value(dotted, value))
    return parse_config(tree, source)


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """The config that a tree of plain values spells; `source` names it in errors."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [f"{source}: {explain(found, tree)}" for found in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, StrictYamlError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}.") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: should hold settings as `key: value`; found {type(tree).__name__}.")
    return tree


def read_value(dotted: str, value: str) -> object:
    try:
        return load_yaml(value)
    except StrictYamlError as error:
        raise ConfigError(f"--set {dotted}={value}: the value cannot be read as YAML: {error}.") from None


def set_key(tree: Any, dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    try:
        for key in parents:
            if isinstance(tree, dict) and tree.get(key) is None:
                tree[key] = {}  # a group that is left out by default, as is the forest
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        if last == "kind" and tree.get(last) != value:
            tree.clear()  # the options of one kind mean nothing to another
        tree[int(last) if isinstance(tree, list) else last] = value
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"--set {dotted}: there is no such place in the config.") from error


def explain(found: Any, tree: Any) -> str:
    """One line for one mistake: where it is in the tree that was given, and what is wrong there."""
    where = place(found["loc"], tree)
    if found["type"] == "union_tag_invalid":
        known = found["ctx"]["expected_tags"].replace("'", "")
        return f"{where}.kind: '{found['ctx']['tag']}' is not one of {known}."
    if found["type"] == "union_tag_not_found":
        return f"{where}: should say of which `kind` it is."
    if found["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: there is no such setting; is it misspelt?"
    said = found["msg"].removeprefix("Value error, ").removesuffix(".")
    if holds_groups(found["input"]):  # what is said names the key
        return f"{said}." if not where or said.startswith(f"{where}.") else f"{where}: {said}."
    return f"{where}: {said}; found {found['input']!r}."


def holds_groups(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list | tuple) and any(map(holds_groups, value)))


def place(keys: tuple[str | int, ...], tree: Any) -> str:
    """The dotted key as the user wrote it: pydantic puts the kind of a part among the keys."""
    written: list[str] = []
    for key in keys:
        if isinstance(tree, dict) and tree.get("kind") == key:
            continue
        written.append(str(key))
        try:
            tree = tree[key]
        except (LookupError, TypeError):
            tree = None
    return ".".join(written)
