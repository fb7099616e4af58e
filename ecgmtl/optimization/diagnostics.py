"""What the tasks' gradients say of one another, from probes of two independent halves of a batch.

A gradient is its expectation and noise, and noise makes every product of a gradient with itself too large: a raw
cosine of 0.2 reads as 0.018 where the noise is ten times the signal. Products across the halves have no such bias.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32, Float64
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from ecgmtl.data.batch import Batch
from ecgmtl.optimization.gradients import task_gradients
from ecgmtl.settings import Settings

STRIDE = 2654435761
"""Knuth's multiplier: consecutive probes shift by far apart, seemingly random distances."""


class DiagnosticsSettings(Settings):
    every: NonNegativeInt = 50
    """Steps from one probe to the next; 0 for none."""
    ema: float = Field(0.9, ge=0, lt=1)
    """Decay a probe of the running means of products."""

    def build(self, tasks: tuple[str, ...], main: str) -> "GradientDiagnostics":
        return GradientDiagnostics(tasks, main, self)


class GradientDiagnostics(nn.Module):
    r"""Running statistics of the tasks' gradients; they lie in buffers, and nothing waits for the device.

    With :math:`a_1, a_2` a task's gradients on the halves, :math:`b` those of the main task, a bar for the running
    mean, and :math:`P_{ab} = \overline{(a_1 \cdot b_2 + a_2 \cdot b_1) / 2}`:

    - norm :math:`\sqrt{P_{aa}}`; cosine :math:`P_{ab} / \sqrt{P_{aa} P_{bb}}`, unclamped, for clamping would bias it;
    - magnitude_similarity :math:`2 \sqrt{P_{aa} P_{bb}} / (P_{aa} + P_{bb})` (Yu et al., NeurIPS 2020, definition 2);
    - effective_weight_ratio :math:`w_a \sqrt{P_{aa}} / (w_b \sqrt{P_{bb}})`;
    - noise_scale :math:`\mathrm{tr} \Sigma / |G|^2`, in records (McCandlish et al., 2018, the simple noise scale).

    These are nan as long as a mean that should be positive is not: then the noise hides the gradient. The others are
    shares of all finite probes so far:

    - conflict_rate: the product of the tasks is negative. To be read beside conflict_within, where two gradients of
      one task have a negative product, and conflict_null, which shifts the main task's coordinates against the other's;
    - nan_rate: a product of one of the two tasks with itself is not positive, so that this probe has no cosine.
    """

    products: Tensor
    noise: Tensor
    n_probes: Tensor
    n_conflicts: Tensor
    n_shifted: Tensor
    n_within: Tensor
    n_undefined: Tensor

    def __init__(self, tasks: tuple[str, ...], main: str, settings: DiagnosticsSettings) -> None:
        super().__init__()
        if main not in tasks:
            raise ValueError(f"the main task is '{main}', but the tasks are {', '.join(tasks)}; name one of them")
        self.tasks = tasks
        self.main = tasks.index(main)
        self.ema = settings.ema
        n_tasks = len(tasks)
        self.register_buffer("products", torch.zeros(n_tasks, n_tasks, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(n_tasks, dtype=torch.float64))
        self.register_buffer("n_probes", torch.zeros((), dtype=torch.int64))
        for name in ("n_conflicts", "n_shifted", "n_within", "n_undefined"):
            self.register_buffer(name, torch.zeros(n_tasks, dtype=torch.int64))

    @torch.no_grad()
    def observe(
        self,
        first: Float[Tensor, "task parameter"],
        second: Float[Tensor, "task parameter"],
        weights: Float[Tensor, " task"],
        n_records: int,
    ) -> dict[str, Float64[Tensor, ""]]:
        """The statistics after one more probe, by metric name; a probe that is not finite changes none of them.

        A row is a task's gradient on one half, not weighted; `n_records` is the number of records in both halves.
        """
        first, second = first.double(), second.double()
        cross = first @ second.T
        products = (cross + cross.T) / 2
        self.count(products, self.shifted(first, second))
        self.blend(products, self.spread(first, second, n_records))
        return self.named(weights.double())

    def shifted(
        self, first: Float64[Tensor, "task parameter"], second: Float64[Tensor, "task parameter"]
    ) -> Float64[Tensor, " task"]:
        """Each task's product with the main one's, whose coordinates are shifted, by another distance each probe."""
        n_parameters = first.shape[1]
        shift = 1 + (self.n_probes + 1) * STRIDE % max(n_parameters - 1, 1)
        moved = (torch.arange(n_parameters, device=first.device) + shift) % n_parameters
        return (first @ second[self.main][moved] + second @ first[self.main][moved]) / 2

    def spread(
        self, first: Float64[Tensor, "task parameter"], second: Float64[Tensor, "task parameter"], n_records: int
    ) -> Float64[Tensor, " task"]:
        r"""The trace of the covariance of one record's gradient.

        With batches of B/2 and B, the estimate of McCandlish et al. (2018, appendix A.1),
        :math:`(|g_{B/2}|^2 - |g_B|^2) / (2/B - 1/B)`, is :math:`B |a_1 - a_2|^2 / 4`, and theirs of :math:`|G|^2`,
        :math:`(B |g_B|^2 - B/2 |g_{B/2}|^2) / (B - B/2)`, is :math:`a_1 \cdot a_2`.
        """
        return (first - second).square().sum(dim=1) * (n_records / 4)

    def count(self, products: Float64[Tensor, "task task"], shifted: Float64[Tensor, " task"]) -> None:
        finite = products.isfinite().all()
        own = products.diagonal()
        self.n_probes += finite
        self.n_conflicts += finite & (products[self.main] < 0)
        self.n_shifted += finite & (shifted < 0)
        self.n_within += finite & (own < 0)
        self.n_undefined += finite & ((own <= 0) | (own[self.main] <= 0))

    def blend(self, products: Float64[Tensor, "task task"], noise: Float64[Tensor, " task"]) -> None:
        """Take a probe into the running means, numerators and denominators apart."""
        finite = products.isfinite().all()
        for mean, found in ((self.products, products), (self.noise, noise)):
            mean.copy_(torch.where(finite, mean.lerp(found, 1 - self.ema), mean))

    def named(self, weights: Float64[Tensor, " task"]) -> dict[str, Float64[Tensor, ""]]:
        started = 1 - self.ema ** self.n_probes.double()  # the means begin at 0, and this much of them is known by now
        products, noise = self.products / started, self.noise / started
        square = products.diagonal()
        square = torch.where(square > 0, square, torch.nan)
        norm, pull = square.sqrt(), weights * square.sqrt()
        main = self.main
        every = {"norm": norm, "noise_scale": noise / square, "conflict_within": self.n_within / self.n_probes}
        auxiliary = {
            "cosine": products[main] / (norm * norm[main]),
            "magnitude_similarity": 2 * norm * norm[main] / (square + square[main]),
            "effective_weight_ratio": torch.where(pull[main] > 0, pull / pull[main], torch.nan),
            "conflict_rate": self.n_conflicts / self.n_probes,
            "conflict_null": self.n_shifted / self.n_probes,
            "nan_rate": self.n_undefined / self.n_probes,
        }
        found = {f"gradient.{name}.{task}": v[i] for name, v in every.items() for i, task in enumerate(self.tasks)}
        for name, values in auxiliary.items():
            found |= {f"gradient.{name}.{t}": values[i] for i, t in enumerate(self.tasks) if i != main}
        return {name: value.double() for name, value in found.items()}


Held = Tensor | dict[str, Tensor] | None
"""What a batch is made of."""


def half_gradients(
    losses_of: Callable[[Batch], Sequence[Tensor]],
    batch: Batch,
    n_half: int,
    parameters: Sequence[nn.Parameter],
    model: nn.Module,
) -> tuple[Float32[Tensor, "task parameter"], Float32[Tensor, "task parameter"]]:
    """Each loss's gradient by the parameters, a row a loss, on the first and the second `n_half` of the batch.

    What is left of it is left out. The whole model is in eval mode meanwhile, because BatchNorm would
    make the halves depend on their own statistics; afterwards it is as before, and so are gradients and the state of
    random numbers. `losses_of` should call the plain model: a compiled one would be compiled anew for half a batch.

    Raises:
        ValueError: there are fewer than two records, or parameters that have no gradient.
    """
    if not n_half:
        raise ValueError(f"a probe needs at least 2 records, one a half; the batch has {len(batch.signals)}")
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        raise ValueError("a probe needs parameters that learn; the layer is frozen, or the tasks share none")
    halves = (part(batch, slice(0, n_half)), part(batch, slice(n_half, 2 * n_half)))
    devices = [batch.signals.device] if batch.signals.is_cuda else []
    with evaluating(model), torch.random.fork_rng(devices), torch.enable_grad():
        first, second = (task_gradients(losses_of(half), parameters, [])[0] for half in halves)
    return first, second


def part(batch: Batch, where: slice) -> Batch:
    """Some records of a batch."""

    def cut(field: Held) -> Held:
        if isinstance(field, dict):
            return {name: values[where] for name, values in field.items()}
        return None if field is None else field[where]

    return Batch._make(cut(field) for field in batch)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode within, and every module's own flag as before afterwards."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        yield
    finally:
        for module, training in flags:
            module.training = training
