"""Ways to weigh the losses. A new one is a file beside these, and its settings' name in the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.weighting.base import Weighted, Weighting
from ecgmtl.weighting.decay import DecaySettings
from ecgmtl.weighting.fixed import FixedSettings
from ecgmtl.weighting.uncertainty import UncertaintySettings

WeightingSettings = Annotated[
    FixedSettings | UncertaintySettings | DecaySettings,
    Field(discriminator="kind"),
]

__all__ = ["Weighted", "Weighting", "WeightingSettings"]
