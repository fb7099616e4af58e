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
DERIVED = {lead: FROM_I_AND_II[lead] for lead in LIMB_LEADS if lead not in BASIS_LEADS}
"""Coefficients of I and II, by derived lead."""
DERIVED_INDEX = [STANDARD_LEADS.index(lead) for lead in DERIVED]


def algebra() -> Float[Tensor, "lead basis"]:
    """Return the matrix that maps the 8 independent leads, in mV, to all 12."""
    matrix = torch.zeros(N_LEADS, N_BASIS)
    for row, lead in enumerate(STANDARD_LEADS):
        if lead in DERIVED:
            matrix[row, :2] = torch.tensor(DERIVED[lead])
        else:
            matrix[row, BASIS_LEADS.index(lead)] = 1.0
    return matrix


@cache
def index_tensor(leads: tuple[int, ...], device: torch.device) -> Int64[Tensor, " lead"]:
    """Return lead indices as a tensor, cached on the device: a transfer would make every step wait for it."""
    with torch.inference_mode(False):  # it is cached, and a tensor of inference mode could not be trained with later
        return torch.tensor(leads, device=device)


def extend_mask(mask: Bool[Tensor, "batch basis time"]) -> Bool[Tensor, "batch lead time"]:
    """Extend a mask of the 8 independent leads to all 12, so that no masked sample follows from visible ones.

    A derived lead is masked wherever I or II is: III and II together would reveal I.
    """
    return with_derived(mask, mask[:, :2].any(dim=1, keepdim=True))


def extend_scores(scored: Float[Tensor, "batch basis time"]) -> Float[Tensor, "batch lead time"]:
    """Extend weights of samples to all 12 leads. A derived lead has the larger weight of I and II."""
    return with_derived(scored, scored[:, :2].amax(dim=1, keepdim=True))


def with_derived(
    basis: Shaped[Tensor, "batch 8 time"], derived: Shaped[Tensor, "batch 1 time"]
) -> Shaped[Tensor, "batch 12 time"]:
    """Insert the derived leads, all four alike, so that all 12 are in their order."""
    return torch.cat([basis[:, :2], derived.expand(-1, len(DERIVED), -1), basis[:, 2:]], dim=1)
