"""Ways of sharing an encoder. To add one, write a file beside these and add its settings to the union below."""

from typing import Annotated

from pydantic import Field

from ecgmtl.model.sharing.base import Sharing, Trunks
from ecgmtl.model.sharing.cross_stitch import CrossStitchSettings
from ecgmtl.model.sharing.hard import HardSettings
from ecgmtl.model.sharing.multi_level import MultiLevelSettings
from ecgmtl.model.sharing.soft import SoftSettings

SharingSettings = Annotated[
    HardSettings | SoftSettings | CrossStitchSettings | MultiLevelSettings,
    Field(discriminator="kind"),
]

__all__ = ["Sharing", "SharingSettings", "Trunks"]
