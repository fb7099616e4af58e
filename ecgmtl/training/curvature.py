"""Curvature diagnostics of a stage: the Hessian and the tangent kernel of classification on a fixed batch."""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ecgmtl.config.stage import Stage
from ecgmtl.data.batch import Batch
from ecgmtl.data.split import Split
from ecgmtl.device import full_precision
from ecgmtl.model.network import MAIN, MultiTaskModel
from ecgmtl.optimization.curvature import (
    CurvatureSettings,
    alignment,
    centered_alignment,
    effective_rank,
    hessian_product,
    hutchinson_trace,
    tangent_kernels,
    top_eigenvalues,
)
from ecgmtl.optimization.diagnostics import part
from ecgmtl.tasks import LossInput, build_task
from ecgmtl.tracking import names
from ecgmtl.training.sample_key import SampleKey
from ecgmtl.training.step import trained_parts


class Curvature:
    """Curvature of the classification loss, in a copy of the network in eval mode and float32.

    The parameters are those that the stage trains, of the encoder and the classifier. Records are whole, unmasked and
    not augmented. All runs of a seed on the same records have the same batch and the same random vectors.
    """

    def __init__(self, settings: CurvatureSettings, stage: Stage, split: Split, seed: int) -> None:
        self.settings, self.stage, self.seed = settings, stage.main_alone, seed
        self.task = build_task(MAIN, stage).validated_as()
        labeled = np.flatnonzero(split.labeled)
        rng = np.random.default_rng((seed, SampleKey.CURVATURE))
        chosen = rng.permutation(labeled)[: settings.records]
        self.batch = split.batch(torch.from_numpy(np.sort(chosen)).to(split.device))

    def measure(self, model: MultiTaskModel) -> dict[str, Tensor]:
        """Return the figures by name. The model and the random state stay as they are."""
        network = deepcopy(model).eval().requires_grad_(False)
        for each in trained_parts(network, self.stage):
            each.requires_grad_()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        # fused attention has no second derivative
        with torch.enable_grad(), full_precision(), sdpa_kernel(SDPBackend.MATH):
            figures = self.of_hessian(network, parameters) | self.of_kernel(network, parameters)
        return {f"{names.CURVATURE}{name}": value for name, value in figures.items()}

    def of_hessian(self, network: MultiTaskModel, parameters: list[nn.Parameter]) -> dict[str, Tensor]:
        """Return the largest eigenvalues and the trace of the loss's Hessian."""
        loss = self.task.loss(LossInput(network, network(self.batch.signals, None, (MAIN,)), self.batch, 1.0))
        product = hessian_product(loss, parameters)
        generator = torch.Generator().manual_seed(self.seed)
        size = (1 + self.settings.probes, sum(parameter.numel() for parameter in parameters))
        signs = (torch.randint(0, 2, size, generator=generator) * 2 - 1).to(self.batch.signals)
        top = top_eigenvalues(product, signs[0], self.settings.eigenvalues, self.settings.iterations)
        return numbered("hessian_eigenvalue", top) | {"hessian_trace": hutchinson_trace(product, signs[1:])}

    def of_kernel(self, network: MultiTaskModel, parameters: list[nn.Parameter]) -> dict[str, Tensor]:
        """Return figures of the tangent kernel averaged over labels, and the alignment with the labels that vary."""

        def logits_of(record: int) -> Tensor:
            one: Batch = part(self.batch, slice(record, record + 1))
            logits: Tensor = network(one.signals, None, (MAIN,))[MAIN][0]
            return logits

        kernels = tangent_kernels(logits_of, len(self.batch.labels), parameters)
        pairs = [
            (kernel, labels) for kernel, labels in zip(kernels, self.batch.labels.T, strict=True) if varies(labels)
        ]
        mean = kernels.mean(dim=0)
        top = torch.linalg.eigvalsh(mean).flip(0)[: self.settings.eigenvalues]
        figures = numbered("ntk_eigenvalue", top) | {"ntk_trace": mean.trace(), "ntk_rank": effective_rank(mean)}
        if pairs:
            figures["ntk_alignment"] = torch.stack([alignment(*pair) for pair in pairs]).mean()
            figures["ntk_centered_alignment"] = torch.stack([centered_alignment(*pair) for pair in pairs]).mean()
        return figures


def numbered(name: str, values: Tensor) -> dict[str, Tensor]:
    """Name values from the largest on, from 1."""
    return {f"{name}_{rank}": value for rank, value in enumerate(values, 1)}


def varies(labels: Tensor) -> bool:
    """Return whether some of the records have a label and some do not."""
    return bool(labels.min() < labels.max())
