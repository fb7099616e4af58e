"""A stage: which parts learn, from which losses, for how long. A new one is an entry in a config."""

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from ecgmtl.augment import AugmentSettings
from ecgmtl.losses import LOSSES, MAIN
from ecgmtl.masking import MaskingSettings
from ecgmtl.optimisation import OptimiserSettings
from ecgmtl.settings import Name, Settings
from ecgmtl.weighting import WeightingSettings
from ecgmtl.weighting.fixed import FixedSettings

Part = Literal["encoder", "decoder", "classifier", "auxiliary_classifier"]
HEADS: dict[str, Part] = {
    "reconstruction": "decoder",
    "classification": "classifier",
    "auxiliary_classification": "auxiliary_classifier",
}


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
    masking: MaskingSettings = MaskingSettings()
    """What is hidden; it matters only where `losses` has reconstruction."""
    augment: AugmentSettings = AugmentSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights go on: the best by validation macro-AUROC, or in its absence by the loss of `judged_by`."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a better one."""

    @field_validator("losses")
    @classmethod
    def losses_exist(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(losses) - set(LOSSES))
        if unknown or not losses:
            raise ValueError(f"{', '.join(unknown) or 'nothing'} is asked for; there is {', '.join(LOSSES)}")
        if len(set(losses)) < len(losses):
            raise ValueError("a task is named twice; weigh it more by the weighting's weights")
        return losses

    @model_validator(mode="after")
    def parts_have_losses(self) -> "Stage":
        for task, head in HEADS.items():
            if head in self.trains and task not in self.losses:
                raise ValueError(f"stage '{self.name}' trains the {head}, but has no {task} among its losses")
        if self.reconstructs and not self.masking.hides and not self.masking.visible:
            raise ValueError(
                f"stage '{self.name}' hides nothing, so its reconstruction is never scored; set masking.visible"
            )
        self.weighting.build(self.losses)  # a weighting that does not fit these tasks says so here
        return self

    @property
    def classifies(self) -> bool:
        return MAIN in self.losses

    @property
    def judged_by(self) -> str:
        """The task by which one epoch is better than another."""
        return next(task for task in (MAIN, "reconstruction", *self.losses) if task in self.losses)

    @property
    def reconstructs(self) -> bool:
        return "reconstruction" in self.losses
