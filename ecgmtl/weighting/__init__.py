"""Ways to weigh the losses. A new one is a file beside these, and its settings' name in the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.weighting.alternating import AlternatingSettings
from ecgmtl.weighting.bandit import BanditSettings
from ecgmtl.weighting.base import Moment, Weighted, Weighting
from ecgmtl.weighting.decay import DecaySettings
from ecgmtl.weighting.dwa import DwaSettings
from ecgmtl.weighting.famo import FamoSettings
from ecgmtl.weighting.fixed import FixedSettings
from ecgmtl.weighting.gradnorm import GradNormSettings
from ecgmtl.weighting.rlw import RlwSettings
from ecgmtl.weighting.uncertainty import UncertaintySettings
from ecgmtl.weighting.uw_so import UwSoSettings

WeightingSettings = Annotated[
    FixedSettings
    | UncertaintySettings
    | UwSoSettings
    | GradNormSettings
    | DwaSettings
    | RlwSettings
    | FamoSettings
    | DecaySettings
    | BanditSettings
    | AlternatingSettings,
    Field(discriminator="kind"),
]

__all__ = ["Moment", "Weighted", "Weighting", "WeightingSettings"]
