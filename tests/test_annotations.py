"""The check of annotations that runs with all tests: what is wrong is refused, in every kind of function."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from tests.annotations import around


@around
def add(a: Float[Tensor, "row column"], b: Float[Tensor, "row column"]) -> Float[Tensor, " row"]:
    return (a + b).sum(dim=1) if len(a) < 5 else a


@around
def half(number: float, unit: Literal["mV"] = "mV") -> float:
    return number / 2 if number else "none"


@around
def rows(matrix: Float[Tensor, "row column"]) -> Iterator[Float[Tensor, " column"]]:
    yield from matrix


@around
@dataclass
class Leads:
    names: tuple[str, ...]
    values: Float[Tensor, "lead sample"]

    @classmethod
    @around
    def of(cls, names: "tuple[str, ...]") -> "Leads":
        return cls(names, torch.zeros(len(names), 3))

    @property
    @around
    def first(self) -> str:
        return self.names[0] if self.names else 0


def test_what_fits_its_annotations_passes():
    assert add(torch.ones(2, 3), torch.ones(2, 3)).tolist() == [6, 6]
    assert add(torch.ones(4, 1), torch.ones(4, 1)).shape == (4,)  # a size holds for one call
    assert half(3, unit="mV") == 1.5
    assert len(list(rows(torch.ones(2, 3)))) == 2
    assert Leads.of(("I",)).first == "I"


@pytest.mark.parametrize(
    "call",
    [
        lambda: add(torch.ones(2, 3), torch.ones(2)),
        lambda: add(torch.ones(2, 3), torch.ones(2, 4)),
        lambda: add(torch.ones(6, 3), torch.ones(6, 3)),
        lambda: half("3"),
        lambda: half(3, unit="V"),
        lambda: half(0),
        lambda: list(rows(torch.ones(2))),
        lambda: Leads(["I"], torch.zeros(1, 3)),
        lambda: Leads(("I",), torch.zeros(3)),
        lambda: Leads.of(["I"]),
        lambda: Leads.of(()).first,
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(Exception, match=r"violates type hint|Type-check error"):
        call()


def test_both_packages_are_checked():
    from data_prep.lead_set import LeadSet
    from ecgmtl.metrics.ranking import macro_auroc

    with pytest.raises(Exception, match=r"violates type hint|Type-check error"):
        LeadSet.parse(3)
    with pytest.raises(Exception, match=r"violates type hint|Type-check error"):
        macro_auroc(torch.zeros(3), torch.zeros(3))
