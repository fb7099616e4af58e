"""Consistency: how well twelve reconstructed leads obey the identities between them."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from ecgmtl.data.lead_algebra import N_LEADS
from ecgmtl.model.network import RECONSTRUCTION
from ecgmtl.tasks.base import LossInput, ModelFacts, Need, StageFacts, Task, ValidationView


class Consistency(Task):
    """Mean squared violation of Einthoven's and Goldberger's identities by the 12 reconstructed leads.

    In units of the derived lead's standard deviation, over all samples of III, aVR, aVL and aVF.
    """

    part: ClassVar[str] = "decoder"
    needs: ClassVar[frozenset[Need]] = frozenset({"masks"})
    view: ClassVar[ValidationView] = "masked"

    def __init__(self) -> None:
        super().__init__("consistency")

    @property
    def reads(self) -> str:
        return RECONSTRUCTION

    @property
    def has_theory(self) -> bool:
        return False

    def build_head(self, n_features: int, stride: int, n_outputs: int, facts: ModelFacts) -> None:
        """Build nothing: the decoder's output is scored."""

    def check(self, stage: StageFacts) -> None:
        if RECONSTRUCTION not in [task.name for task in stage.tasks]:
            raise ValueError("the loss consistency needs a reconstruction; add reconstruction to the losses")

    def check_model(self, stage: str, facts: ModelFacts) -> None:
        if facts.decoder.leads != N_LEADS:
            raise ValueError(f"stage '{stage}' learns consistency, which needs all 12 leads; set decoder.leads")

    def loss(self, inputs: LossInput) -> Float[Tensor, ""]:
        output = inputs.outputs.get(RECONSTRUCTION)
        if output is None or not inputs.model.reconstructs_all:
            raise ValueError(
                "the consistency loss needs a decoder that reconstructs all 12 leads; set decoder.leads to 12"
            )
        return inputs.model.violation(output.mean).square().mean()
