"""A stage: which parts learn, from which losses, for how long. A new one is an entry in a config."""

from typing import Literal

from pydantic import PositiveInt, field_validator, model_validator

from ecgmtl.augment import AugmentSettings
from ecgmtl.losses import LOSSES, MAIN
from ecgmtl.masking import MaskingSettings
from ecgmtl.optimisation import OptimiserSettings
from ecgmtl.settings import Settings
from ecgmtl.weighting import WeightingSettings
from ecgmtl.weighting.fixed import FixedSettings

Part = Literal["encoder", "decoder", "classifier", "auxiliary_classifier"]
HEADS: dict[str, Part] = {
    "reconstruction": "decoder",
    "classification": "classifier",
    "auxiliary_classification": "auxiliary_classifier",
}


class Stage(Settings):
    name: str
    """As it is called in `--stage`, in the run's folder and in MLflow."""
    trains: tuple[Part, ...]
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
    """Which epoch's weights go on: the best by validation macro-AUROC, or by reconstruction in its absence."""
    patience: PositiveInt | None = None
    """Stop after this many epochs without a better one."""

    @field_validator("losses")
    @classmethod
    def losses_exist(cls, losses: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(losses) - set(LOSSES))
        if unknown or not losses:
            raise ValueError(f"{', '.join(unknown) or 'nothing'} is asked for; there is {', '.join(LOSSES)}")
        return losses

    @model_validator(mode="after")
    def parts_have_losses(self) -> "Stage":
        for task, head in HEADS.items():
            if head in self.trains and task not in self.losses:
                raise ValueError(f"stage '{self.name}' trains the {head}, but has no {task} among its losses")
        self.weighting.build(self.losses)  # a weighting that does not fit these tasks says so here
        return self

    @property
    def classifies(self) -> bool:
        return MAIN in self.losses

    @property
    def reconstructs(self) -> bool:
        return "reconstruction" in self.losses
