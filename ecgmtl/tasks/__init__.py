"""Tasks. To add one, write a file in this folder, import it here and list it in TASKS.

If its targets lie in a column that prepared folders do not have yet, add the column in `data_prep/sources/` too.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ecgmtl.model.network import MAIN
from ecgmtl.settings import Settings
from ecgmtl.tasks.age import Age
from ecgmtl.tasks.agreement import Agreement
from ecgmtl.tasks.base import LossInput, ModelFacts, StageFacts, Task
from ecgmtl.tasks.classification import PREFIX, Classification, ClassificationSettings
from ecgmtl.tasks.consistency import Consistency
from ecgmtl.tasks.contrastive import Contrastive, ContrastiveSettings
from ecgmtl.tasks.distillation import Distillation
from ecgmtl.tasks.heart_axis import HeartAxis
from ecgmtl.tasks.infarction_stadium import InfarctionStadium
from ecgmtl.tasks.latent import Latent, LatentSettings
from ecgmtl.tasks.measurements import Measurements
from ecgmtl.tasks.mid_classification import MidClassification
from ecgmtl.tasks.reconstruction import Reconstruction, ReconstructionSettings
from ecgmtl.tasks.report import Report
from ecgmtl.tasks.sex import Sex


class TaskSettings(Settings):
    """Settings of those tasks that have some, as keys of a stage."""

    reconstruction: ReconstructionSettings = ReconstructionSettings()
    classification: ClassificationSettings = ClassificationSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    latent: LatentSettings = LatentSettings()


Prevalence = Mapping[str, Float[Tensor, " label"]]
"""Fraction of the labeled training records that have each label, by classification task."""

TASKS: dict[str, Callable[[TaskSettings, Prevalence], Task]] = {
    "reconstruction": lambda settings, _: Reconstruction(settings.reconstruction),
    "classification": lambda settings, known: Classification(MAIN, settings.classification, known.get(MAIN)),
    "mid_classification": lambda settings, known: MidClassification(
        "mid_classification", settings.classification, known.get(MAIN)
    ),
    "consistency": lambda *_: Consistency(),
    "agreement": lambda *_: Agreement(),
    "latent": lambda settings, _: Latent(settings.latent),
    "contrastive": lambda settings, _: Contrastive(settings.contrastive),
    "distillation": lambda _, known: Distillation(known.get(MAIN)),
    "age": lambda *_: Age(),
    "sex": lambda *_: Sex(),
    "heart_axis": lambda *_: HeartAxis(),
    "infarction_stadium": lambda *_: InfarctionStadium(),
    "report": lambda *_: Report(),
    "measurements": lambda *_: Measurements(),
}


def is_known(name: str) -> bool:
    """Return whether there is a task of this name."""
    return name in TASKS or (name.startswith(PREFIX) and len(name) > len(PREFIX))


def build_task(name: str, settings: TaskSettings = TaskSettings(), prevalence: Prevalence | None = None) -> Task:  # noqa: B008
    """Build the task of this name; `classification_<label set>` learns a further label set."""
    known = prevalence or {}
    if name in TASKS:
        return TASKS[name](settings, known)
    return Classification(name, settings.classification, known.get(name))


def losses_of(
    tasks: Sequence[Task],
    active: Sequence[bool],
    inputs: Callable[[Task], Sequence[LossInput]],
    device: torch.device,
) -> list[Float[Tensor, ""]]:
    """Compute the losses in the order of the tasks, each with a graph of its own; 0 for tasks that are not active.

    inputs: the input of the loss for each view that a task reads. The losses of several views are averaged.
    """
    zero = torch.zeros((), device=device)
    return [
        mean([task.loss(each) for each in inputs(task)]) if now else zero
        for task, now in zip(tasks, active, strict=True)
    ]


def mean(losses: Sequence[Float[Tensor, ""]]) -> Float[Tensor, ""]:
    return losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean()


__all__ = [
    "MAIN",
    "PREFIX",
    "TASKS",
    "ClassificationSettings",
    "LossInput",
    "ModelFacts",
    "ReconstructionSettings",
    "StageFacts",
    "Task",
    "TaskSettings",
    "build_task",
    "is_known",
    "losses_of",
]
