"""A stage: which parts learn, from which losses, how they are weighed, for how long. A new one is a config's entry."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from ecgmtl.data.augment import AugmentSettings
from ecgmtl.data.masking import MaskingSettings
from ecgmtl.model.sharing import JUDGES
from ecgmtl.optimization.diagnostics import DiagnosticsSettings
from ecgmtl.optimization.gradient_rules import GradientRuleSettings
from ecgmtl.optimization.gradient_rules.sum import SumSettings
from ecgmtl.optimization.optimizer import OptimizerSettings
from ecgmtl.optimization.weighting import WeightingSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.settings import Name, Settings
from ecgmtl.tasks import (
    MAIN,
    SECOND,
    TASKS,
    ClassificationSettings,
    ContrastiveSettings,
    ReconstructionSettings,
    Scoring,
    is_known,
)

Part = Literal["encoder", "decoder", "classifier", "auxiliary_classifiers", "predictor", "projector"]
Flow = Annotated[float, Field(ge=0, le=1)]

UNTRAINED = "untrained"
"""What a stage may start from instead of an earlier one."""


class Stage(Settings):
    name: Name
    """As it is called in `--stage`, in the run's folder and in MLflow."""
    trains: tuple[Part, ...] = Field(min_length=1)
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
    reconstruction: ReconstructionSettings = ReconstructionSettings()
    classification: ClassificationSettings = ClassificationSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
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
    """Which epoch's weights go on: the best by validation macro-AUROC, or in its absence by the loss of `judged_by`."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a better one."""

    @field_validator("losses")
    @classmethod
    def losses_exist(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(task for task in set(losses) if not is_known(task))
        if unknown or not losses:
            known = f"{', '.join(TASKS)}, and {SECOND}<label set> for one of auxiliary_labels"
            raise ValueError(f"{', '.join(unknown) or 'nothing'} is asked for; there is {known}")
        if len(set(losses)) < len(losses):
            raise ValueError("a task is named twice; weigh it more by the weighting's weights")
        if "consistency" in losses and "reconstruction" not in losses:
            raise ValueError("consistency judges a reconstruction, so reconstruction has to be learnt beside it")
        return losses

    @model_validator(mode="after")
    def parts_have_losses(self) -> "Stage":
        heads = {"decoder": "reconstruction", "predictor": "latent", "projector": "contrastive"}
        if not self.classifies:
            heads["classifier"] = MAIN
        for head, task in heads.items():
            if head in self.trains and task not in self.losses:
                raise ValueError(f"stage '{self.name}' trains the {head}, but has no {task} among its losses")
        if "auxiliary_classifiers" in self.trains and not self.second_label_sets:
            raise ValueError(f"stage '{self.name}' trains auxiliary_classifiers, but has no {SECOND}<label set>")
        unknown = sorted(set(self.flow) - set(self.losses) - {JUDGES.get(task, task) for task in self.losses})
        if unknown:
            raise ValueError(f"flow names {', '.join(unknown)}; the stage's losses are {', '.join(self.losses)}")
        headless = sorted(set(self.flow) & set(JUDGES))
        if headless:
            raise ValueError(
                f"flow names {', '.join(headless)}, which has no head; name {JUDGES[headless[0]]}, whose it judges"
            )
        if self.reconstructs and not self.masking.hides and not self.masking.visible:
            raise ValueError(
                f"stage '{self.name}' hides nothing, so its reconstruction is never scored; set masking.visible"
            )
        if "latent" in self.losses and not self.masking.hides:
            raise ValueError(f"stage '{self.name}' learns latent, but hides nothing; set masking.time or masking.leads")
        if self.hides and self.augment.leads_missing:
            raise ValueError(f"stage '{self.name}' hides leads by masking.leads; leave augment.leads_missing out")
        if ("distillation" in self.losses) != bool(self.teachers):
            raise ValueError(f"stage '{self.name}': distillation learns what teachers say; each needs the other")
        if "contrastive" in self.losses and self.reconstruction.target == "shuffled":
            raise ValueError(
                f"stage '{self.name}': of two views, a shuffled reconstruction would take one as the other's truth; "
                f"leave contrastive out"
            )
        if "contrastive" in self.losses and self.augment.mixup:
            raise ValueError(f"stage '{self.name}' learns contrastive, whose two views mixup would blend with others")
        return self

    @model_validator(mode="after")
    def methods_fit(self) -> "Stage":
        self.weighting.build(self.losses)  # one that does not fit these tasks says so here
        self.gradients.build(self.losses)
        if self.reconstruction.can_be_negative and self.reconstructs and self.weighting.needs_positive:
            raise ValueError(
                f"stage '{self.name}': {self.weighting.kind} weighting needs losses that are never negative, and "
                f"{self.reconstruction.kind} can be; take fixed or decay weights"
            )
        judged_by = getattr(self.weighting, "main", self.judged_by)
        if self.weighting.kind == "bandit" and judged_by != self.judged_by:
            raise ValueError(
                f"stage '{self.name}': the bandit is rewarded by {self.judged_by}, by which the stage is judged; "
                f"weighting.main cannot be {judged_by}"
            )
        if self.weighting.kind == "bandit" and self.judged_by == "distillation":
            raise ValueError(
                f"stage '{self.name}': the bandit is rewarded by labels, and distillation alone learns none; add {MAIN}"
            )
        if self.weighting.kind == "gradnorm" and {"consistency"} & set(self.losses) - self.weighting.start.keys():
            raise ValueError(
                f"stage '{self.name}': no theory tells the consistency loss of an untrained network, from which "
                f"gradnorm measures how much is left; give it by weighting.start.consistency, or take other weights"
            )
        if self.weighting.kind == "gradnorm" and self.optimizer.algorithm == "sgd":
            raise ValueError(
                f"stage '{self.name}': gradnorm's weights need steps that do not shrink with the gradients they "
                f"balance; take the algorithm adamw, or other weights than gradnorm"
            )
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
    def meets_in_encoder(self) -> list[str]:
        """The methods of this stage that look at gradients in parameters that tasks share."""
        gradients = [] if self.gradients.kind == "sum" else [self.gradients.kind]
        return gradients + ([self.weighting.kind] if self.weighting.kind == "gradnorm" else [])

    @property
    def classifies(self) -> bool:
        """Whether the main task is learnt, from its labels or from teachers."""
        return MAIN in self.losses or "distillation" in self.losses

    @property
    def learns_labels(self) -> bool:
        """Whether records without labels are of no use to it."""
        return any(task.startswith(MAIN) for task in self.losses)

    @property
    def second_label_sets(self) -> tuple[str, ...]:
        return tuple(task.removeprefix(SECOND) for task in self.losses if task.startswith(SECOND))

    @property
    def judged_by(self) -> str:
        """The task by which one epoch is better than another."""
        return next(task for task in (MAIN, "distillation", "reconstruction", *self.losses) if task in self.losses)

    @property
    def n_views(self) -> int:
        """Of each record in a batch, one after the other."""
        return 2 if "contrastive" in self.losses else 1

    @property
    def reconstructs(self) -> bool:
        return "reconstruction" in self.losses

    @property
    def hides(self) -> bool:
        """Whether its batches are masked."""
        return self.reconstructs or "latent" in self.losses

    @property
    def scoring(self) -> Scoring:
        return Scoring(self.reconstruction, self.classification, self.contrastive)
