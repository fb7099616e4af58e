"""The config of a stage: which parts it trains, on which losses, with which weighting, for how long."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from data_prep.words import counted
from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.network import MAIN, RECONSTRUCTION
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.forkmerge import ForkSettings
from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.gradient_rules.sum import SumSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.settings import Name
from ecgmtl.tasks import PREFIX, TASKS, StageFacts, Task, TaskSettings, build_task, is_known
from ecgmtl.tasks.distillation import GO_TOGETHER

Flow = Annotated[float, Field(ge=0, le=1)]

View = Literal["masked", "clean"]
VIEWS: dict[str, tuple[View, ...]] = {"masked": ("masked",), "clean": ("clean",), "both": ("clean", "masked")}
"""Views of a batch that a task reads, by the word in a stage's `views`."""

UNTRAINED = "untrained"
"""Value of `start` for a stage that does not start from an earlier one."""


class Stage(TaskSettings):
    """Settings of one stage."""

    name: Name
    """Name of the stage in `--stage`, in the run's folder and in MLflow."""
    trains: tuple[str, ...] = Field(min_length=1)
    """Parts of the model that are trained; the others stay exactly as they are."""
    losses: tuple[str, ...]
    """Tasks that are learned."""
    epochs: PositiveInt
    batch_size: PositiveInt = 64
    weighting: WeightingSettings = FixedSettings()
    """Weighting of the tasks' losses."""
    gradients: GradientRuleSettings = SumSettings()
    """Rule that combines the weighted tasks' gradients in the parameters that tasks share."""
    fork: ForkSettings | None = None
    """ForkMerge: the main task is also learned alone, and the two networks are merged by a score on held-out patients.

    None for training without a fork."""
    flow: dict[str, Flow] = Field(default_factory=dict)
    """Fraction of a head's gradient that reaches the encoder, by task; 1 for tasks that are not named."""
    start: str | None = None
    """Earlier stage whose weights the stage starts from, or `untrained`; the previous stage when absent."""
    teachers: tuple[str, ...] = ()
    """Earlier stages, or files or run folders of trained models, whose mean probabilities distillation learns."""
    masking: MaskingSettings = MaskingSettings()
    """Masking; it is used only where `losses` has reconstruction or latent."""
    views: dict[str, Literal["masked", "clean", "both"]] = Field(default_factory=dict)
    """View that each task reads: masked, clean, or both, whose losses are averaged; masked for tasks not named.

    A clean view costs a second pass. Where no labels are learned from the masked view, it has all records, with or
    without labels.
    """
    statistics: Literal["clean", "all"] = "clean"
    """Views that move the running statistics of `normalization: batch`, by which validation and prediction normalize.

    `batch_by_view` has statistics of each view, and group norms have none.
    """
    augment: AugmentSettings = AugmentSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    """Diagnostics of the tasks' gradients and of the curvature, which are logged."""
    keep: Literal["best", "last"] = "best"
    """Epoch whose weights are kept: the best by validation macro AUROC, else by the loss of `selected_by`."""
    patience: PositiveInt | None = None
    """Early stopping: number of epochs without improvement after which the stage ends."""

    @field_validator("losses")
    @classmethod
    def losses_exist(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(task for task in set(losses) if not is_known(task))
        if unknown or not losses:
            known = f"{', '.join(TASKS)}, and {PREFIX}<label set> for one of auxiliary_labels"
            raise ValueError(f"found {', '.join(unknown) or 'nothing'}; choose from {known}")
        if len(set(losses)) < len(losses):
            raise ValueError("a task is named twice; to give it more weight, set weighting.weights")
        return losses

    @model_validator(mode="after")
    def parts_have_losses(self) -> "Stage":
        parts = {"encoder"} | {task.part for task in self.tasks}
        for part in self.trains:
            if part not in parts:
                raise ValueError(
                    f"stage '{self.name}' trains the {part}, on which none of its losses depends; they train "
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
        if self.masks and not self.has_clean_view and self.augment.leads_missing:
            raise ValueError(
                f"stage '{self.name}' masks leads by masking.leads; leave augment.leads_missing out, or let a task "
                f"read the clean view"
            )
        if self.teachers and "teachers" not in self.needs:
            raise ValueError(f"stage '{self.name}': {GO_TOGETHER}")
        return self

    @model_validator(mode="after")
    def views_fit(self) -> "Stage":
        unknown = sorted(set(self.views) - set(self.losses))
        if unknown:
            raise ValueError(f"views names {', '.join(unknown)}; the stage's losses are {', '.join(self.losses)}")
        for task in self.tasks:
            view = self.views.get(task.name, "masked")
            if view != "masked" and "masks" in task.needs:
                raise ValueError(f"stage '{self.name}': {task.name} needs the masked view; views has {view} for it")
        if self.has_clean_view and not self.masks:
            raise ValueError(
                f"stage '{self.name}' masks nothing, so it has one view; leave views out, or learn reconstruction or "
                f"latent"
            )
        return self

    @model_validator(mode="after")
    def methods_fit(self) -> "Stage":
        self.weighting.build(self.losses)  # raises where it does not fit these tasks
        self.gradients.build(self.losses)
        for part in (*self.tasks, self.weighting):
            part.check(self.facts)
        if self.meets_in_encoder and "encoder" not in self.trains:
            raise ValueError(
                f"stage '{self.name}': {' and '.join(self.meets_in_encoder)} compares the tasks' gradients in the "
                f"encoder, which the stage does not train; add encoder to trains, or use fixed weights"
            )
        if self.diagnostics.curvature and MAIN not in self.losses:
            raise ValueError(
                f"stage '{self.name}': diagnostics.curvature measures the loss of {MAIN}, which the stage does not "
                f"learn; leave it out"
            )
        if self.fork:
            self.fork.check(self.facts, self.weighting.build(self.losses), self.trains)
        return self

    @property
    def summary(self) -> str:
        """Short description of the stage."""
        weighting = f", {self.weighting.kind} weighting" if len(self.losses) > 1 else ""
        if self.n_views > 1:
            weighting += ", in two views"
        if self.fork:
            weighting += ", merged with the main task alone"
        epochs = counted(self.epochs, "epoch")
        parts = ", ".join(part.replace("_", " ") for part in self.trains)
        return f"{' + '.join(self.losses)}{weighting}, {epochs}; trains {parts}"

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks in the order of `losses`, without statistics of the data."""
        return tuple(build_task(name, self) for name in self.losses)

    @property
    def facts(self) -> StageFacts:
        return StageFacts(
            name=self.name,
            tasks=self.tasks,
            main=self.main,
            masks=self.masking.masks,
            scores_visible=bool(self.masking.visible),
            mixup=bool(self.augment.mixup),
            has_teachers=bool(self.teachers),
            shuffled=self.reconstruction.target == "shuffled",
            algorithm=self.optimizer.algorithm,
            clean_heads=tuple(task.reads for task in self.tasks if "clean" in self.views_of(task.name)),
            follows_shortest=self.gradients.follows_shortest,
        )

    @property
    def heads(self) -> tuple[str, ...]:
        """Head that each task reads, in the order of the tasks."""
        return tuple(task.reads for task in self.tasks)

    @property
    def needs(self) -> frozenset[str]:
        """Parts of a batch that the tasks need beside signals and labels."""
        return frozenset[str]().union(*(task.needs for task in self.tasks))

    @property
    def meets_in_encoder(self) -> list[str]:
        """Methods of this stage that compare gradients in the parameters that tasks share."""
        return [method.kind for method in (self.gradients, self.weighting) if method.looks_at_encoder]

    @property
    def classifies(self) -> bool:
        """True where the main task is learned, from its labels or from teachers."""
        return MAIN in self.heads

    @property
    def learns_labels(self) -> bool:
        """True where records without labels are of no use to the stage."""
        return any(task.learns_labels for task in self.tasks)

    @property
    def main(self) -> Task:
        """Task that selects the best epoch."""
        return max(self.tasks, key=lambda task: task.priority)

    @property
    def selected_by(self) -> str:
        """Name of the task that selects the best epoch."""
        return self.main.name

    @property
    def main_alone(self) -> "Stage":
        """The same stage, learning only the task that selects the best epoch."""
        main = self.main
        changes = {
            "losses": (main.name,),
            "trains": tuple(part for part in self.trains if part in ("encoder", main.part)),
            "flow": {head: flow for head, flow in self.flow.items() if head == main.reads},
            "teachers": self.teachers if "teachers" in main.needs else (),
            "views": {},
            "weighting": FixedSettings(),
            "gradients": SumSettings(),
            "fork": None,
        }
        return self.model_copy(update=changes)

    @property
    def n_views(self) -> int:
        """Number of views of each record in a batch, one after the other."""
        return 2 if "views" in self.needs else 1

    def views_of(self, task: str) -> tuple[View, ...]:
        """Return the views that a task reads."""
        return VIEWS[self.views.get(task, "masked")]

    @property
    def has_clean_view(self) -> bool:
        """True where a task reads the clean view beside the masked one."""
        return any("clean" in self.views_of(task) for task in self.losses)

    @property
    def masks_all_records(self) -> bool:
        """True where the masked view may have records without labels, because the labels are learned from the other."""
        learners = [task.name for task in self.tasks if task.learns_labels]
        paired = "clean_view" in self.needs
        return self.has_clean_view and not paired and all("masked" not in self.views_of(task) for task in learners)

    @property
    def n_passes(self) -> int:
        """Number of passes through the network in a step, each over the whole batch."""
        return 1 + self.has_clean_view

    @property
    def reconstructs(self) -> bool:
        """True where reconstruction is learned in mV, not as shapes without level and height."""
        return RECONSTRUCTION in self.losses and self.reconstruction.target != "segments"

    @property
    def masks(self) -> bool:
        """True where the stage's batches are masked."""
        return "masks" in self.needs
