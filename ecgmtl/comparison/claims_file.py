"""The reference arm of a folder of arms and the claims about its arms, read from `_claims.yaml`.

    reference: single
    claims:
      - title: It adds 1 to 2 points to the final score
        measured: final score at equal steps
        effect: gained
        unit: points
        bound: 1
        arm: lambda-0.3
        reference: single

A folder without the file has no claims, and the reference of the shipped `configs/compare`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from ecgmtl.config.parse import ConfigError, explain, read_yaml
from ecgmtl.config.shipped import FOLDER
from ecgmtl.settings import Name, Settings

CLAIMS = "_claims.yaml"
SHIPPED = FOLDER / "compare" / CLAIMS

SweepEffect = Literal["gained_over_other_weights", "gained_in_range", "gained_over_tuned"]
EffectName = (
    Literal["lower_loss", "saved", "saved_time", "calmer", "narrower", "less_noise", "gained", "gained_when_stopped"]
    | SweepEffect
)
SWEEP_EFFECTS = ("gained_over_other_weights", "gained_in_range", "gained_over_tuned")
REFERENCE_EFFECTS = ("saved", "saved_time", "calmer")
"""Effects that are measured against the reference of the whole comparison."""


class Claim(Settings):
    """A claim about one arm, with the effect that is measured and the bound that it has to exceed."""

    title: str
    measured: str
    """Description of the effect in the report."""
    effect: EffectName
    """Function of `effects.py` that measures it. Positive is the direction that is claimed."""
    unit: str
    bound: float = 0.0
    arm: Name
    reference: Name
    is_change: bool = False
    """Whether an effect of either sign supports the claim. An effect within the bound does not."""
    against: str = ""
    """Name in the report of what the arm is compared with, where that is not one arm."""
    percent: PositiveFloat = 100
    """Percent of the budget after which `lower_loss` compares the losses."""
    share: PositiveFloat = 0.95
    """Fraction of the reference's final score at which `saved` and `saved_time` count training as done."""
    amortized: bool = False
    """Whether `saved` leaves pretraining out of the count."""
    sweep: str = ""
    """Prefix of the names of the arms with a fixed weight. The weight follows the prefix."""
    label_share: float | None = Field(None, gt=0, le=1)
    """Fraction of labeled patients for which the effect is claimed. Comparisons with another leave the claim out."""
    smallest_effect: PositiveFloat | None = None
    """Smallest true effect that the design was expected to show, simulated before the runs by `docs/make/power.py`."""
    weights: tuple[float, float] = (0.0, float(10**9))
    """Smallest and largest fixed weight that `gained_in_range` looks at."""

    @model_validator(mode="after")
    def name_a_sweep(self) -> "Claim":
        if self.effect in SWEEP_EFFECTS and not self.sweep:
            raise ValueError(f"the effect '{self.effect}' needs `sweep`, the prefix of the arms with a fixed weight")
        return self


class ClaimsFile(Settings):
    """The content of `_claims.yaml`."""

    reference: Name
    """Arm that every other arm is compared with."""
    equal_compute: Name | None = None
    """Arm that learns what the reference learns, for as long as an auxiliary task would cost."""
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def measure_against_the_reference(self) -> "ClaimsFile":
        """Refuse another reference where an effect is measured against that of the whole comparison."""
        for claim in self.claims:
            if claim.effect in REFERENCE_EFFECTS and claim.reference != self.reference:
                raise ValueError(
                    f"the claim '{claim.title}' has reference '{claim.reference}', but the effect '{claim.effect}' is "
                    f"measured against '{self.reference}'; set `reference` to it, or choose another effect"
                )
        return self


KEYS = f"the file has {', '.join(ClaimsFile.model_fields)}, and a claim {', '.join(Claim.model_fields)}"


def read_claims(path: Path) -> ClaimsFile:
    """Read a file of claims. Where there is none, return no claims and the shipped reference.

    Raises:
        ConfigError: the file is not YAML, or its content is not a list of claims with their reference.
    """
    if not path.is_file():
        return read_claims(SHIPPED).model_copy(update={"claims": ()})
    tree = read_yaml(path)
    try:
        return ClaimsFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {explain(mistake, tree, KEYS)}" for mistake in error.errors())) from None
