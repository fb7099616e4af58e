"""Encoders. A new one is a file beside these, and its settings' name in the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.encoders.base import Encoder
from ecgmtl.encoders.cnn import CnnSettings
from ecgmtl.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.encoders.convnext import ConvNextSettings
from ecgmtl.encoders.leadwise import LeadwiseSettings
from ecgmtl.encoders.s4d import S4dSettings
from ecgmtl.encoders.transformer import TransformerSettings

EncoderSettings = Annotated[
    CnnSettings | TransformerSettings | CnnTransformerSettings | S4dSettings | ConvNextSettings | LeadwiseSettings,
    Field(discriminator="kind"),
]

__all__ = ["Encoder", "EncoderSettings"]
