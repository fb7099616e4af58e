"""An evaluation, and the files it is written to: JSON, tables, arrays, plots and text."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from data_prep.files import naming, write_text, write_whole
from data_prep.safe_text import cell
from data_prep.words import counted
from ecgmtl.evaluation.classification import ClassificationReport, Estimate
from ecgmtl.evaluation.given_leads import GivenLeadsReport
from ecgmtl.evaluation.markdown import escaped
from ecgmtl.evaluation.protocols import Protocol
from ecgmtl.evaluation.reconstruction import ReconstructionReport
from ecgmtl.evaluation.stress import StressReport
from ecgmtl.evaluation.text import given_leads_section, render, stress_section
from ecgmtl.metrics.typicality import CAUSES, Unlike
from ecgmtl.run_files import METRICS

PICTURE_DPI = 120
FILES = (
    METRICS,
    "report.md",
    "per_label.csv",
    "reconstruction.csv",
    "given_leads.csv",
    "stress.csv",
    "probabilities.npz",
    "roc_pr.png",
    "reliability.png",
    "reconstruction.png",
    "stress.png",
)
"""Files that a report may have."""
N_UNDEFINED = "n_undefined_labels"
"""Number of labels that all records have or none, so that macro figures leave them out. Absent where there is none."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a model on a split by a protocol. A task that was never trained has no report."""

    protocol: Protocol
    label_set: str
    label_names: tuple[str, ...]
    names: tuple[str, ...]
    """Names of the records."""
    patients: Int64[np.ndarray, " record"]
    classification: ClassificationReport | None
    reconstruction: ReconstructionReport | None
    provenance: Mapping[str, str]
    """Stage, data, code and package version that the model came from."""
    given_leads: GivenLeadsReport | None = None
    stress: StressReport | None = None
    unlike: Unlike | None = None
    """Records unlike the training records. None for a model that cannot detect them."""

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patients))

    def summary(self) -> dict[str, float]:
        """Return the headline figures by names that MLflow accepts.

        Limits of intervals are named `…_low` and `…_high`. Figures that are not defined are left out.
        """
        figures: dict[str, float] = {"n_records": len(self.names), "n_patients": self.n_patients}
        for name, estimate in (self.classification.headline if self.classification else {}).items():
            figures |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        if self.classification and self.classification.undefined:
            figures[N_UNDEFINED] = len(self.classification.undefined)
        if self.reconstruction:
            figures |= {f"reconstruction_{name}": value for name, value in asdict(self.reconstruction.overall).items()}
        figures |= self.given_leads.headline() if self.given_leads else {}
        figures |= {"n_unlike_training": self.unlike.n_records} if self.unlike else {}
        figures |= {"stress_worst_loss": self.stress.worst[1]} if self.stress else {}
        return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def write_evaluation(evaluation: Evaluation, out: Path, title: str = "Evaluation") -> list[Path]:
    """Write the report into a folder and return its files. Files of an earlier report that it lacks are removed.

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    earlier = [out / name for name in FILES] if (out / METRICS).is_file() else []
    texts = {
        METRICS: json.dumps(as_tree(evaluation, title), indent=2, allow_nan=False) + "\n",
        "report.md": f"# {escaped(title)}\n\n" + as_text(evaluation, n_shown=None),
    }
    if evaluation.classification:
        texts["per_label.csv"] = as_csv(evaluation.classification.labels)
    if evaluation.reconstruction:
        both = [evaluation.reconstruction.by_lead, evaluation.reconstruction.by_group]
        texts["reconstruction.csv"] = as_csv(pd.concat(both, keys=["lead", "group"], names=["pool", "name"]))
    if evaluation.given_leads:
        texts["given_leads.csv"] = as_csv(evaluation.given_leads.figures.set_index(["masked", "samples", "pool"]))
    if evaluation.stress:
        texts["stress.csv"] = as_csv(evaluation.stress.losses)
    for name, text in texts.items():
        write_text(out / name, text)
    written = [*(out / name for name in texts), *write_arrays(evaluation, out), *write_pictures(evaluation, out)]
    for path in set(earlier) - set(written):
        path.unlink(missing_ok=True)
    return written


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV in which no name of a label runs as a formula."""
    table = table.rename(index=lambda name: cell(name) if isinstance(name, str) else name)
    return table.to_csv(float_format="%.6g", lineterminator="\n")


def write_arrays(evaluation: Evaluation, out: Path) -> list[Path]:
    """Write the true labels and probabilities of every record, for paired tests between models."""
    if evaluation.classification is None:
        return []
    answers, path = evaluation.classification.answers, out / "probabilities.npz"

    def write(beside: Path) -> None:
        with beside.open("wb") as file:  # to a path, NumPy would add a suffix
            np.savez_compressed(
                file,
                names=np.array(evaluation.names),
                patients=answers.patients,
                label_names=np.array(answers.label_names),
                truth=answers.truth,
                logits=answers.logits,
                probabilities=answers.probabilities,
                predicted=answers.predicted,
            )

    write_whole(path, write)
    return [path]


def write_pictures(evaluation: Evaluation, out: Path) -> list[Path]:
    """Write the plots of everything that was measured."""
    # here, because matplotlib takes half a second, which a training run spends better before its first step
    from ecgmtl.evaluation.pictures import plot_rankings, plot_reconstruction, plot_reliability, plot_stress

    figures = {}
    if evaluation.classification:
        figures["roc_pr.png"] = plot_rankings(evaluation.classification)
        figures["reliability.png"] = plot_reliability(evaluation.classification)
    if evaluation.reconstruction:
        figures["reconstruction.png"] = plot_reconstruction(evaluation.reconstruction)
    if evaluation.stress:
        figures["stress.png"] = plot_stress(evaluation.stress)
    for name, figure in figures.items():
        with naming(out / name):
            figure.savefig(out / name, dpi=PICTURE_DPI)
    return [out / name for name in figures]


def as_text(evaluation: Evaluation, n_shown: int | None) -> str:
    """Return the report as Markdown.

    n_shown: largest number of labels for which the table by label is included; None for the full report.
    """
    opening = (
        f"{counted(len(evaluation.names), 'record')} of {counted(evaluation.n_patients, 'patient')}, "
        f"label set {escaped(evaluation.label_set)} ({counted(len(evaluation.label_names), 'label')}). "
        f"Protocol {evaluation.protocol.name}: {evaluation.protocol.description}.\n"
    )
    text = opening + unlike_note(evaluation) + render(evaluation.classification, evaluation.reconstruction, n_shown)
    if evaluation.given_leads:
        text += given_leads_section(evaluation.given_leads, n_shown)
    return text + (stress_section(evaluation.stress, n_shown) if evaluation.stress else "")


def unlike_note(evaluation: Evaluation) -> str:
    """Return a paragraph on the records unlike the training records. Empty if there is none."""
    unlike, n_records = evaluation.unlike, len(evaluation.names)
    if unlike is None or not unlike.n_records:
        return ""
    most = "It is" if unlike.n_records == 1 else "Most are"
    return (
        f"\nRecords unlike the training records: {unlike.n_records} of {n_records} "
        f"({100 * unlike.n_records / n_records:.1f} %); about 1 % are usual. `ecgmtl predict` makes no decision on "
        f"such records. {most} unusual in {CAUSES[unlike.part]}\n"
    )


def as_tree(evaluation: Evaluation, title: str) -> dict[str, Any]:
    """Return everything but the arrays, in values of strict JSON. Figures that are not defined are null."""
    tree: dict[str, Any] = {
        "title": title,
        "protocol": asdict(evaluation.protocol),
        "label_set": evaluation.label_set,
        "n_records": len(evaluation.names),
        "n_patients": evaluation.n_patients,
        "n_unlike_training": evaluation.unlike and evaluation.unlike.n_records,
        "model": dict(evaluation.provenance),
    }
    if evaluation.classification:
        tree["classification"] = classification_tree(evaluation.classification)
    if evaluation.reconstruction:
        tree["reconstruction"] = reconstruction_tree(evaluation.reconstruction)
    if evaluation.given_leads:
        tree["given_leads"] = given_leads_tree(evaluation.given_leads)
    if evaluation.stress:
        tree["stress"] = stress_tree(evaluation.stress)
    return as_strict_json(tree)


def classification_tree(report: ClassificationReport) -> dict[str, Any]:
    """Return the figures of the labels as a tree."""
    return {
        "headline": {name: plain_estimate(estimate) for name, estimate in report.headline.items()},
        "n_bootstrap": report.n_bootstrap,
        "undefined_labels": report.undefined,
        "labels": report.labels.to_dict(orient="index"),
    }


def reconstruction_tree(report: ReconstructionReport) -> dict[str, Any]:
    """Return the errors of the reconstruction as a tree, with the masking by which they were measured."""
    return {
        "masking": report.masking.model_dump(mode="json"),
        "overall": asdict(report.overall),
        "by_lead": report.by_lead.to_dict(orient="index"),
        "by_group": report.by_group.to_dict(orient="index"),
    }


def given_leads_tree(report: GivenLeadsReport) -> dict[str, Any]:
    """Return the errors of leads that are reconstructed from others as a tree."""
    return {
        "given": report.leads.given,
        "derived": report.leads.derived,
        "reconstructed": report.leads.reconstructed,
        "fraction_of_training_records_with_as_many_leads_masked": report.rarity,
        "figures": report.figures.to_dict(orient="records"),
    }


def stress_tree(report: StressReport) -> dict[str, Any]:
    """Return the losses by perturbations as a tree."""
    return {
        "clean_macro_auroc": plain_estimate(report.clean),
        "n_bootstrap": report.n_bootstrap,
        "perturbations": report.losses.to_dict(orient="index"),
        "summary": report.summary.to_dict(orient="index"),
    }


def plain_estimate(estimate: Estimate) -> dict[str, float]:
    """Return a figure as a dict, without an interval where none was computed."""
    return estimate._asdict() if math.isfinite(estimate.low) else {"value": estimate.value}


def as_strict_json(value: Any) -> Any:
    """Return the same tree with null for nan and infinity, which JSON does not have, and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): as_strict_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_strict_json(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
