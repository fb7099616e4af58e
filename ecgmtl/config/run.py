"""The config of a run, as one typed tree. The defaults are a three-stage run of two minutes on synthetic ECGs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from data_prep.preprocess import Preprocess
from ecgmtl.config.parse import ConfigError, explain, read_value, read_yaml, set_key
from ecgmtl.config.stage import UNTRAINED, Stage
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.encoders import EncoderSettings
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.forest.forest import ForestSettings
from ecgmtl.model.heads import ClassifierSettings, DecoderSettings
from ecgmtl.model.network import MAIN, N_INPUTS, RECONSTRUCTION, MultiTaskModel
from ecgmtl.model.normalization import Normalization, normalize_by
from ecgmtl.model.sharing import SharingSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.settings import Name, Settings
from ecgmtl.tasks import PREFIX, TASKS, ModelFacts, Task, build_task

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
    """Settings of a whole run."""

    name: Name = "quick"
    """Name of the run, for its folder and for MLflow."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of all random samples of the run. Torch's generators and the seeds derived from it have at most 64 bits."""
    labels: str | None = None
    """Label set to learn; when absent, the one for which the store was prepared."""
    auxiliary_labels: tuple[str, ...] = ()
    """Further label sets, each with its own classifier: the tasks classification_<label set>."""
    validation_fold: int | None = None
    """Validation fold; the other folds outside the test split are trained on. When absent, the store's own split."""
    validation_share: float | None = Field(None, gt=0, lt=1)
    """Fraction of training patients that the run is validated on, instead of training on them. Its choices (epoch,
    calibration, thresholds) then do not look at the validation split, on which it can be reported."""
    label_share: float = Field(1.0, gt=0, le=1)
    """Fraction of the training patients with labels. The other patients' signals are used for reconstruction only."""
    unlabeled: Literal["keep", "drop"] = "keep"
    """Treatment of training records without a label of the set; kept ones count as negative for every label."""
    preprocess: Preprocess = Preprocess()
    encoder: EncoderSettings = CnnSettings()
    normalization: Normalization | Literal["auto"] = "auto"
    """Normalization in the encoder: batch, batch_by_view with statistics of its own for masked input, or group.

    auto is batch_by_view where a stage reads two views and does not set `statistics: all`, and batch elsewhere.
    """
    sharing: SharingSettings = HardSettings()
    """Way in which the tasks share the encoder."""
    decoder: DecoderSettings = DecoderSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    forest: ForestSettings | None = None
    """Boosted trees on ECG measurements, whose logits are added to the network's; trained after the last stage."""
    stages: tuple[Stage, ...] = STAGES
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of training; auto is bf16 on processors that compute in it. Evaluation is always fp32."""
    compile: bool = False
    """Whether the network is compiled before training, which takes up to a minute and pays off in long runs only."""
    deterministic: bool = False
    """Whether nondeterministic operations are refused, which a GPU needs to repeat a run bit for bit."""

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
        for index, stage in enumerate(stages):
            earlier = {before.name: before for before in stages[:index]}
            if stage.start not in (None, UNTRAINED, *earlier):
                raise ValueError(
                    f"stage '{stage.name}' starts from '{stage.start}'; choose one of "
                    f"{', '.join((*earlier, UNTRAINED))}"
                )
            for teacher in {later.name for later in stages[index:]}.intersection(stage.teachers):
                raise ValueError(f"stage '{stage.name}' has the teacher '{teacher}', which must come before it")
            for teacher in set(earlier).intersection(stage.teachers):
                if not earlier[teacher].classifies:
                    raise ValueError(f"stage '{stage.name}' has the teacher '{teacher}', which does not learn {MAIN}")
        return stages

    @model_validator(mode="after")
    def forest_has_a_classifier(self) -> "Config":
        if self.forest and not self.learns_to_classify(self.stages[-1].name):
            raise ValueError(
                f"forest needs a trained classifier, but no stage that the last one builds on has {MAIN} among its "
                f"losses; leave forest out"
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

    @model_validator(mode="after")
    def statistics_have_records(self) -> "Config":
        """Refuse classification of masked records alone where unmasked ones are normalized by their own statistics."""
        for stage in self.stages:
            if self.norms == "batch_by_view" and stage.masks and stage.learns_labels and not stage.has_clean_view:
                raise ValueError(
                    f"stage '{stage.name}' learns labels from masked records alone, but normalization batch_by_view "
                    f"has other statistics for unmasked ones; set views.classification to clean or both, or "
                    f"normalization to batch"
                )
        return self

    @property
    def norms(self) -> Normalization:
        """Normalization of these stages, of which `auto` is one or the other."""
        if self.normalization != "auto":
            return self.normalization
        views = {stage.statistics for stage in self.stages if stage.has_clean_view}
        return "batch_by_view" if views == {"clean"} else "batch"

    @property
    def facts(self) -> ModelFacts:
        return ModelFacts(self.decoder, self.classifier, self.auxiliary_labels, self.sharing.on_lower_levels)

    def tasks_with_heads(self, auxiliary: Iterable[str]) -> tuple[Task, ...]:
        """Return the tasks that have a head, in its order: those of every model, then those that a stage learns."""
        always = (RECONSTRUCTION, MAIN, *(PREFIX + name for name in auxiliary))
        learned = (name for name in TASKS if name not in always and self.learns(name))
        return tuple(task for task in map(build_task, (*always, *learned)) if task.reads == task.name)

    @property
    def trunks(self) -> dict[str, str]:
        """Name of the encoder that each head reads, by head."""
        return {task.name: task.trunk for task in self.tasks_with_heads(self.auxiliary_labels)}

    def build_model(self, n_labels: int, n_auxiliary: dict[str, int] | None = None) -> MultiTaskModel:
        """Build an untrained model; `n_auxiliary` gives the number of labels of each further label set."""
        auxiliary = n_auxiliary or {}
        counts = {MAIN: n_labels, **{PREFIX + name: count for name, count in auxiliary.items()}}
        tasks = self.tasks_with_heads(auxiliary)
        shared = self.sharing.build(self.encoder, N_INPUTS, {task.name: task.trunk for task in tasks})
        normalize_by(shared, self.norms)
        heads = {}
        for task in sorted(tasks, key=lambda task: not task.name.startswith(PREFIX)):  # the order of random weights
            name = task.name
            n_outputs = counts.get(task.labeled_as, 0)
            heads[name] = task.build_head(shared.n_features(name), shared.stride(name), n_outputs, self.facts)
        return MultiTaskModel(shared, {task.name: head for task in tasks if (head := heads[task.name]) is not None})

    def place_of(self, stage: str) -> int:
        """Return the index of the stage of this name."""
        return [each.name for each in self.stages].index(stage)

    def lineage(self, last: str) -> tuple[Stage, ...]:
        """Return the stages that trained the weights after the stage `last`, in order."""
        index = self.place_of(last)
        stage = self.stages[index]
        start = stage.start or (self.stages[index - 1].name if index else UNTRAINED)
        return (stage,) if start == UNTRAINED else (*self.lineage(start), stage)

    def learns_to_classify(self, last: str) -> bool:
        """Return whether any stage up to `last` trained the classifier."""
        return any(stage.classifies for stage in self.lineage(last))

    def learns(self, task: str) -> bool:
        """Return whether any stage learns a task."""
        return any(task in stage.losses for stage in self.stages)


def load_config(path: Path | None, overrides: tuple[str, ...] = ()) -> Config:
    """Read a YAML file, or take the defaults. Each override is `dotted.key=value`, as in `stages.0.epochs=3`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is invalid.
    """
    source = str(path) if path else "config"
    config = Config() if path is None else parse_config(read_yaml(path), source)
    if not overrides:
        return config
    tree = config.model_dump(mode="json")
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: should be key=value, as in --set stages.0.epochs=3.")
        set_key(tree, dotted, read_value(dotted, value))
    return parse_config(tree, f"{source} with --set")


def parse_config(tree: dict[str, Any], source: str) -> Config:
    """Build the config from a tree of plain values. `source` names it in errors."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [f"{source}: {explain(mistake, tree)}" for mistake in error.errors()]
        raise ConfigError("\n".join(lines)) from None
