"""Diagnostics of gradient conflict between tasks, from probes of two independent halves of a batch.

A gradient is its expectation plus noise, and noise makes every product of a gradient with itself too large: a raw
cosine of 0.2 reads as 0.018 where the noise is ten times the signal. Products across the halves have no such bias.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32, Float64, Int64
from pydantic import Field, NonNegativeInt
from torch import Tensor, nn

from ecgmtl.data.batch import Batch
from ecgmtl.optimization.curvature import CurvatureSettings
from ecgmtl.optimization.gradients import task_gradients
from ecgmtl.settings import Settings

STRIDE = 2654435761
"""Knuth's multiplier: consecutive probes shift by far apart, seemingly random distances."""


class DiagnosticsSettings(Settings):
    """Settings of the diagnostics."""

    every: NonNegativeInt = 50
    """Steps from one probe to the next; 0 for none."""
    ema: float = Field(0.9, ge=0, lt=1)
    """Decay of the running means of products per probe."""
    curvature: CurvatureSettings | None = None
    """Hessian and tangent kernel of classification, at the start, middle and end of the stage; None for none."""


class GradientDiagnostics(nn.Module):
    r"""Running statistics of the tasks' gradients. They lie in buffers, and no operation synchronizes with the device.

    With :math:`a_1, a_2` a task's gradients on the halves, :math:`b` those of the main task, a bar for the running
    mean, and :math:`P_{ab} = \overline{(a_1 \cdot b_2 + a_2 \cdot b_1) / 2}`:

    - norm :math:`\sqrt{P_{aa}}`; cosine :math:`P_{ab} / \sqrt{P_{aa} P_{bb}}`, unclamped, for clamping would bias it;
    - magnitude_similarity :math:`2 \sqrt{P_{aa} P_{bb}} / (P_{aa} + P_{bb})` (Yu et al., NeurIPS 2020, definition 2);
    - effective_weight_ratio :math:`w_a \sqrt{P_{aa}} / (w_b \sqrt{P_{bb}})`;
    - noise_scale :math:`\mathrm{tr} \Sigma / |G|^2`, in records (McCandlish et al., 2018, the simple noise scale).

    These are nan while a mean that should be positive is not: then the noise is larger than the gradient. The others
    are fractions of all finite probes so far:

    - conflict_rate: the product of the tasks is negative. Compare it with conflict_within, where two gradients of one
      task have a negative product, and conflict_null, which shifts the main task's coordinates against the other's;
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
        """Return the statistics after one more probe, by metric name. A probe that is not finite changes none of them.

        first, second: a row for each task, its unweighted gradient on one half; n_records: records in both halves.
        """
        first, second = first.double(), second.double()
        cross = first @ second.T
        products = (cross + cross.T) / 2
        self.count(products, self.shifted(first, second))
        self.average(products, self.noise_of(first, second, n_records))
        return self.named(weights.double())

    def shifted(
        self, first: Float64[Tensor, "task parameter"], second: Float64[Tensor, "task parameter"]
    ) -> Float64[Tensor, " task"]:
        """Return each task's product with the main one's, whose coordinates are shifted differently at each probe."""
        n_parameters = first.shape[1]
        shift = 1 + (self.n_probes + 1) * STRIDE % max(n_parameters - 1, 1)
        moved = (torch.arange(n_parameters, device=first.device) + shift) % n_parameters
        return (first @ second[self.main][moved] + second @ first[self.main][moved]) / 2

    def noise_of(
        self, first: Float64[Tensor, "task parameter"], second: Float64[Tensor, "task parameter"], n_records: int
    ) -> Float64[Tensor, " task"]:
        r"""Estimate the trace of the covariance of one record's gradient.

        With batches of B/2 and B, the estimate of McCandlish et al. (2018, appendix A.1),
        :math:`(|g_{B/2}|^2 - |g_B|^2) / (2/B - 1/B)`, is :math:`B |a_1 - a_2|^2 / 4`, and theirs of :math:`|G|^2`,
        :math:`(B |g_B|^2 - B/2 |g_{B/2}|^2) / (B - B/2)`, is :math:`a_1 \cdot a_2`.
        """
        return (first - second).square().sum(dim=1) * (n_records / 4)

    def count(self, products: Float64[Tensor, "task task"], shifted: Float64[Tensor, " task"]) -> None:
        """Count the conflicts of a probe."""
        finite = products.isfinite().all()
        own = products.diagonal()
        self.n_probes += finite
        self.n_conflicts += finite & (products[self.main] < 0)
        self.n_shifted += finite & (shifted < 0)
        self.n_within += finite & (own < 0)
        self.n_undefined += finite & ((own <= 0) | (own[self.main] <= 0))

    def average(self, products: Float64[Tensor, "task task"], noise: Float64[Tensor, " task"]) -> None:
        """Add a probe to the running means, with numerators and denominators separate."""
        finite = products.isfinite().all()
        for mean, value in ((self.products, products), (self.noise, noise)):
            mean.copy_(torch.where(finite, mean.lerp(value, 1 - self.ema), mean))

    def named(self, weights: Float64[Tensor, " task"]) -> dict[str, Float64[Tensor, ""]]:
        """Return the statistics by metric name."""
        started = 1 - self.ema ** self.n_probes.double()  # the running means begin at 0; this corrects their bias
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
        metrics = {f"gradient.{name}.{task}": v[i] for name, v in every.items() for i, task in enumerate(self.tasks)}
        for name, values in auxiliary.items():
            metrics |= {f"gradient.{name}.{t}": values[i] for i, t in enumerate(self.tasks) if i != main}
        return {name: value.double() for name, value in metrics.items()}


BatchField = Tensor | dict[str, Tensor] | Batch | None
"""Types of a batch's fields."""


def half_gradients(
    losses_of: Callable[[Batch], Sequence[Tensor]],
    batch: Batch,
    n_half: int,
    parameters: Sequence[nn.Parameter],
    model: nn.Module,
) -> tuple[Float32[Tensor, "task parameter"], Float32[Tensor, "task parameter"]]:
    """Compute each loss's gradient, a row for each loss, on the first and the second `n_half` records of the batch.

    The rest of the batch is ignored. The whole model runs in eval mode, because BatchNorm would make each half depend
    on its own statistics. Training mode, gradients and the random state are restored on exit. `losses_of` should call
    the uncompiled model: a compiled one would be compiled again for half a batch.

    Raises:
        ValueError: there are fewer than two records, or parameters without gradient.
    """
    if not n_half:
        raise ValueError(f"a probe needs at least 2 records, one per half; the batch has {len(batch.signals)}")
    if not parameters or not all(parameter.requires_grad for parameter in parameters):
        raise ValueError("a probe needs trainable parameters; the layer is frozen, or the tasks share none")
    halves = (part(batch, slice(0, n_half)), part(batch, slice(n_half, 2 * n_half)))
    devices = [batch.signals.device] if batch.signals.is_cuda else []
    with evaluating(model), torch.random.fork_rng(devices), torch.enable_grad():
        first, second = (task_gradients(losses_of(half), parameters, [])[0] for half in halves)
    return first, second


def part(batch: Batch, where: slice | Int64[Tensor, " row"]) -> Batch:
    """Return some records of a batch."""

    def cut(field: BatchField) -> BatchField:
        if isinstance(field, dict):
            return {name: values[where] for name, values in field.items()}
        if isinstance(field, Batch):
            return part(field, where)
        return None if field is None else field[where]

    return Batch._make(cut(field) for field in batch)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set eval mode, and restore every module's own flag on exit."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        yield
    finally:
        for module, training in flags:
            module.training = training
