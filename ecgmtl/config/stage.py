"""A stage: which parts learn, from which losses, how they are weighed, for how long. A new one is a config's entry."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.network import MAIN, RECONSTRUCTION
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.gradient_rules.sum import SumSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.settings import Name
from ecgmtl.tasks import PREFIX, TASKS, StageFacts, Task, TaskSettings, build_task, is_known

Flow = Annotated[float, Field(ge=0, le=1)]

UNTRAINED = "untrained"
"""What a stage may start from instead of an earlier one."""


class Stage(TaskSettings):
    name: Name
    """As it is called in `--stage`, in the run's folder and in MLflow."""
    trains: tuple[str, ...] = Field(min_length=1)
    """Parts of the model that learn; the others stay exactly as they are."""
    losses: tuple[str, ...]
    """Tasks that are learnt."""
    epochs: PositiveInt
    batch_size: PositiveInt = 64
    weighting: WeightingSettings = FixedSettings()
    """How much each task's loss counts."""
    gradients: GradientRuleSettings = SumSettings()
    """How the weighted tasks' gradients become one where they meet, in the parameters that tasks share."""
    flow: dict[str, Flow] = Field(default_factory=dict)
    """By task, the share of its gradient that passes from its head into the encoder; 1 for those not named."""
    start: str | None = None
    """The earlier stage whose weights it starts from, or `untrained`; the one before it when absent."""
    teachers: tuple[str, ...] = ()
    """Earlier stages, or files or run folders of trained models, whose mean probabilities distillation learns."""
    masking: MaskingSettings = MaskingSettings()
    """What is hidden; it matters only where `losses` has reconstruction or latent."""
    augment: AugmentSettings = AugmentSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    """What is logged of the tasks' gradients."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best by validation macro AUROC, else by the loss of `selected_by`."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a better one."""

    @field_validator("losses")
    @classmethod
    def losses_exist(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(task for task in set(losses) if not is_known(task))
        if unknown or not losses:
            known = f"{', '.join(TASKS)}, and {PREFIX}<label set> for one of auxiliary_labels"
            raise ValueError(f"{', '.join(unknown) or 'nothing'} is asked for; there is {known}")
        if len(set(losses)) < len(losses):
            raise ValueError("a task is named twice; weigh it more by the weighting's weights")
        return losses

    @model_validator(mode="after")
    def parts_have_losses(self) -> "Stage":
        parts = {"encoder"} | {task.part for task in self.tasks}
        for part in self.trains:
            if part not in parts:
                raise ValueError(
                    f"stage '{self.name}' trains the {part}, but none of its losses does; its losses train "
                    f"{', '.join(sorted(parts))}"
                )
        unknown = sorted(set(self.flow) - set(self.losses) - set(self.heads))
        if unknown:
            raise ValueError(f"flow names {', '.join(unknown)}; the stage's losses are {', '.join(self.losses)}")
        headless = sorted(set(self.flow) - set(self.heads))
        if headless:
            reads = build_task(headless[0]).reads
            raise ValueError(
                f"flow names {', '.join(headless)}, which has no head; name {reads}, whose output it scores"
            )
        if self.masks and self.augment.leads_missing:
            raise ValueError(f"stage '{self.name}' masks leads by masking.leads; leave augment.leads_missing out")
        if self.teachers and "teachers" not in self.needs:
            raise ValueError(
                f"stage '{self.name}': the loss 'distillation' needs `teachers`, and `teachers` need the loss "
                f"'distillation'"
            )
        return self

    @model_validator(mode="after")
    def methods_fit(self) -> "Stage":
        self.weighting.build(self.losses)  # one that does not fit these tasks says so here
        self.gradients.build(self.losses)
        for part in (*self.tasks, self.weighting):
            part.check(self.facts)
        if self.meets_in_encoder and "encoder" not in self.trains:
            raise ValueError(
                f"stage '{self.name}': {' and '.join(self.meets_in_encoder)} weighs the tasks by their gradients in "
                f"the encoder, which is not among the parts that learn; add encoder to trains, or take fixed weights"
            )
        return self

    @property
    def summary(self) -> str:
        """What the stage does, in a few words."""
        weighting = f", {self.weighting.kind} weighting" if len(self.losses) > 1 else ""
        epochs = f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        parts = ", ".join(part.replace("_", " ") for part in self.trains)
        return f"{' + '.join(self.losses)}{weighting}, {epochs}; trains {parts}"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is learnt, in the order of `losses`; nothing is known of the data yet."""
        return tuple(build_task(name, self) for name in self.losses)

    @property
    def facts(self) -> StageFacts:
        return StageFacts(
            name=self.name,
            tasks=self.tasks,
            selected_by=self.selected_by,
            masks=self.masking.masks,
            scores_visible=bool(self.masking.visible),
            mixup=bool(self.augment.mixup),
            has_teachers=bool(self.teachers),
            shuffled=self.reconstruction.target == "shuffled",
            algorithm=self.optimizer.algorithm,
            follows_shortest=self.gradients.follows_shortest,
        )

    @property
    def heads(self) -> tuple[str, ...]:
        """The head that each task reads, in the order of the tasks."""
        return tuple(task.reads for task in self.tasks)

    @property
    def needs(self) -> frozenset[str]:
        """What its tasks need of a batch beside signals and labels."""
        return frozenset[str]().union(*(task.needs for task in self.tasks))

    @property
    def meets_in_encoder(self) -> list[str]:
        """The methods of this stage that look at gradients in parameters that tasks share."""
        return [method.kind for method in (self.gradients, self.weighting) if method.looks_at_encoder]

    @property
    def classifies(self) -> bool:
        """Whether the main task is learnt, from its labels or from teachers."""
        return MAIN in self.heads

    @property
    def learns_labels(self) -> bool:
        """Whether records without labels are of no use to it."""
        return any(task.learns_labels for task in self.tasks)

    @property
    def selected_by(self) -> str:
        """The task by which one epoch is better than another."""
        return max(self.tasks, key=lambda task: task.priority).name

    @property
    def n_views(self) -> int:
        """Views of each record in a batch, one after the other."""
        return 2 if "views" in self.needs else 1

    @property
    def reconstructs(self) -> bool:
        return RECONSTRUCTION in self.losses

    @property
    def masks(self) -> bool:
        """Whether its batches are masked."""
        return "masks" in self.needs
