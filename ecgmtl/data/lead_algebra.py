"""The algebra of the twelve leads, as tensors: eight are independent, four follow from I and II.

Einthoven: III = II - I. Goldberger: aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from data_prep.leads import BASIS_LEADS, FROM_I_AND_II, LIMB_LEADS, STANDARD_LEADS

N_LEADS = len(STANDARD_LEADS)
N_BASIS = len(BASIS_LEADS)
BASIS_INDEX = [STANDARD_LEADS.index(lead) for lead in BASIS_LEADS]
DERIVED = {lead: FROM_I_AND_II[lead] for lead in LIMB_LEADS if lead not in BASIS_LEADS}
"""What of I and of II each derived lead is made of."""
DERIVED_INDEX = [STANDARD_LEADS.index(lead) for lead in DERIVED]


def algebra() -> Float[Tensor, "lead basis"]:
    """The matrix that takes the 8 independent leads, in mV, to all 12."""
    matrix = torch.zeros(N_LEADS, N_BASIS)
    for row, lead in enumerate(STANDARD_LEADS):
        if lead in DERIVED:
            matrix[row, :2] = torch.tensor(DERIVED[lead])
        else:
            matrix[row, BASIS_LEADS.index(lead)] = 1.0
    return matrix


@cache
def index_tensor(leads: tuple[int, ...], device: torch.device) -> Int64[Tensor, " place"]:
    """Where leads are, as an index that lies on the device already: one that does not makes every step wait for it."""
    with torch.inference_mode(False):  # it is kept, and a tensor made in inference mode could not be trained with later
        return torch.tensor(leads, device=device)


def extend_mask(mask: Bool[Tensor, "batch basis time"]) -> Bool[Tensor, "batch lead time"]:
    """Which samples of all 12 leads must be hidden so that the given ones of the 8 cannot be computed from the rest.

    A derived lead is hidden wherever I or II is: III and II together would give I away.
    """
    return with_derived(mask, mask[:, :2].any(dim=1, keepdim=True))


def extend_scores(scored: Float[Tensor, "batch basis time"]) -> Float[Tensor, "batch lead time"]:
    """How much each sample of all 12 leads counts: of a derived lead as much as of I or of II, whichever is more."""
    return with_derived(scored, scored[:, :2].amax(dim=1, keepdim=True))


def with_derived(
    basis: Shaped[Tensor, "batch 8 time"], derived: Shaped[Tensor, "batch 1 time"]
) -> Shaped[Tensor, "batch 12 time"]:
    """All 12 leads in their order, the four derived ones alike."""
    return torch.cat([basis[:, :2], derived.expand(-1, len(DERIVED), -1), basis[:, 2:]], dim=1)
