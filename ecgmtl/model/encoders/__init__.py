"""Encoders. To add one, write a file beside these and add its settings to the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.model.encoders.base import Encoder
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.cnn_transformer import CnnTransformerSettings
from ecgmtl.model.encoders.convnext import ConvNextSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings
from ecgmtl.model.encoders.s4d import S4dSettings
from ecgmtl.model.encoders.transformer import TransformerSettings

EncoderSettings = Annotated[
    CnnSettings | TransformerSettings | CnnTransformerSettings | S4dSettings | ConvNextSettings | LeadwiseSettings,
    Field(discriminator="kind"),
]

__all__ = ["Encoder", "EncoderSettings"]
