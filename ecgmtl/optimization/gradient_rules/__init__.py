"""Gradient rules. To add one, write a file beside these and add its settings to the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.optimization.gradient_rules.base import GradientRule, GramianRule
from ecgmtl.optimization.gradient_rules.bisector import BisectorSettings
from ecgmtl.optimization.gradient_rules.cagrad import CagradSettings
from ecgmtl.optimization.gradient_rules.cosine_gate import CosineGateSettings
from ecgmtl.optimization.gradient_rules.gradvac import GradvacSettings
from ecgmtl.optimization.gradient_rules.mgda import MgdaSettings
from ecgmtl.optimization.gradient_rules.noise import NoiseSettings
from ecgmtl.optimization.gradient_rules.pcgrad import PcgradSettings
from ecgmtl.optimization.gradient_rules.protect_main import ProtectMainSettings
from ecgmtl.optimization.gradient_rules.sum import Sum, SumSettings
from ecgmtl.optimization.gradient_rules.torchjd import TorchjdSettings

GradientRuleSettings = Annotated[
    SumSettings
    | PcgradSettings
    | ProtectMainSettings
    | CosineGateSettings
    | MgdaSettings
    | CagradSettings
    | BisectorSettings
    | GradvacSettings
    | NoiseSettings
    | TorchjdSettings,
    Field(discriminator="kind"),
]

__all__ = ["GradientRule", "GradientRuleSettings", "GramianRule", "Sum"]
