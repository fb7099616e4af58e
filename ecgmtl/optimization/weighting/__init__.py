"""Loss weightings. To add one, write a file beside these and add its settings to the union below.

`base.py` has the interface: at each step a weighting gets the losses and a `Moment`, and returns `Weighted`.
"""

from typing import Annotated

from pydantic import Field

from ecgmtl.optimization.weighting.alternating import AlternatingSettings
from ecgmtl.optimization.weighting.bandit import BanditSettings
from ecgmtl.optimization.weighting.base import Moment, Weighted, Weighting
from ecgmtl.optimization.weighting.decay import DecaySettings
from ecgmtl.optimization.weighting.dwa import DwaSettings
from ecgmtl.optimization.weighting.famo import FamoSettings
from ecgmtl.optimization.weighting.fixed import FixedSettings
from ecgmtl.optimization.weighting.gradnorm import GradNormSettings
from ecgmtl.optimization.weighting.rlw import RlwSettings
from ecgmtl.optimization.weighting.uncertainty import UncertaintySettings
from ecgmtl.optimization.weighting.uw_so import UwSoSettings

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
