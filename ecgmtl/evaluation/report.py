"""What was measured of a model, and the files that tell it: for programs, for tables, for people."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from data_prep.files import write_text
from data_prep.safe_text import cell
from ecgmtl.evaluation.classification import ClassificationReport, Estimate
from ecgmtl.evaluation.given_leads import GivenLeadsReport
from ecgmtl.evaluation.markdown import escaped
from ecgmtl.evaluation.pictures import plot_rankings, plot_reconstruction, plot_reliability, plot_stress
from ecgmtl.evaluation.protocols import Protocol
from ecgmtl.evaluation.reconstruction import ReconstructionReport
from ecgmtl.evaluation.stress import StressReport
from ecgmtl.evaluation.text import given_leads_section, render, stress_section

PICTURE_DPI = 120


@dataclass(frozen=True)
class Evaluation:
    """A model measured on a split by a protocol. A task that was never trained has no report."""

    protocol: Protocol
    label_set: str
    label_names: tuple[str, ...]
    names: tuple[str, ...]
    """Of the records."""
    patients: Int64[np.ndarray, " record"]
    classification: ClassificationReport | None
    reconstruction: ReconstructionReport | None
    provenance: Mapping[str, str]
    """Of the model."""
    given_leads: GivenLeadsReport | None = None
    stress: StressReport | None = None

    @property
    def n_patients(self) -> int:
        return len(np.unique(self.patients))

    def summary(self) -> dict[str, float]:
        """Headline figures by names that MLflow takes, the ends of intervals as `…_low` and `…_high`; none is nan."""
        figures: dict[str, float] = {"n_records": len(self.names), "n_patients": self.n_patients}
        for name, estimate in (self.classification.headline if self.classification else {}).items():
            figures |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        if self.reconstruction:
            figures |= {f"reconstruction_{name}": value for name, value in asdict(self.reconstruction.overall).items()}
        figures |= self.given_leads.headline() if self.given_leads else {}
        figures |= {"stress_worst_loss": self.stress.worst[1]} if self.stress else {}
        return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def write_evaluation(evaluation: Evaluation, out: Path, title: str = "Evaluation") -> list[Path]:
    """Fill a folder with the report and give its files.

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "metrics.json": json.dumps(as_tree(evaluation, title), indent=2, allow_nan=False) + "\n",
        "report.md": f"# {escaped(title)}\n\n" + as_text(evaluation, n_shown=None),
    }
    if evaluation.classification:
        texts["per_label.csv"] = as_csv(evaluation.classification.labels)
    if evaluation.reconstruction:
        both = [evaluation.reconstruction.by_lead, evaluation.reconstruction.by_group]
        texts["reconstruction.csv"] = as_csv(pd.concat(both, keys=["lead", "group"], names=["pool", "name"]))
    if evaluation.given_leads:
        texts["given_leads.csv"] = as_csv(evaluation.given_leads.figures.set_index(["hidden", "samples", "pool"]))
    if evaluation.stress:
        texts["stress.csv"] = as_csv(evaluation.stress.losses)
    for name, text in texts.items():
        write_text(out / name, text)
    return [*(out / name for name in texts), *write_arrays(evaluation, out), *write_pictures(evaluation, out)]


def as_csv(table: pd.DataFrame) -> str:
    """Return a table in which no name of a label runs as a formula."""
    table = table.rename(index=lambda name: cell(name) if isinstance(name, str) else name)
    return table.to_csv(float_format="%.6g", lineterminator="\n")


def write_arrays(evaluation: Evaluation, out: Path) -> list[Path]:
    """Truth and probabilities of every record, for paired tests between models later."""
    if evaluation.classification is None:
        return []
    answers, path = evaluation.classification.answers, out / "probabilities.npz"
    np.savez_compressed(
        path,
        names=np.array(evaluation.names),
        patients=answers.patients,
        label_names=np.array(answers.label_names),
        truth=answers.truth,
        logits=answers.logits,
        probabilities=answers.probabilities,
        predicted=answers.predicted,
    )
    return [path]


def write_pictures(evaluation: Evaluation, out: Path) -> list[Path]:
    figures = {}
    if evaluation.classification:
        figures["roc_pr.png"] = plot_rankings(evaluation.classification)
        figures["reliability.png"] = plot_reliability(evaluation.classification)
    if evaluation.reconstruction:
        figures["reconstruction.png"] = plot_reconstruction(evaluation.reconstruction)
    if evaluation.stress:
        figures["stress.png"] = plot_stress(evaluation.stress)
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=PICTURE_DPI)
    return [out / name for name in figures]


def as_text(evaluation: Evaluation, n_shown: int | None) -> str:
    """The report as Markdown that reads well as it is; tables of labels only up to `n_shown` rows."""
    opening = (
        f"{len(evaluation.names)} records of {evaluation.n_patients} patients, "
        f"label set {escaped(evaluation.label_set)} ({len(evaluation.label_names)} labels). "
        f"Protocol {evaluation.protocol.name}: {evaluation.protocol.description}.\n"
    )
    text = opening + render(evaluation.classification, evaluation.reconstruction, n_shown)
    if evaluation.given_leads:
        text += given_leads_section(evaluation.given_leads, n_shown)
    return text + (stress_section(evaluation.stress, n_shown) if evaluation.stress else "")


def as_tree(evaluation: Evaluation, title: str) -> dict[str, Any]:
    """Everything but the arrays, in values that strict JSON has: what is not defined is null."""
    tree: dict[str, Any] = {
        "title": title,
        "protocol": asdict(evaluation.protocol),
        "label_set": evaluation.label_set,
        "n_records": len(evaluation.names),
        "n_patients": evaluation.n_patients,
        "model": dict(evaluation.provenance),
    }
    if evaluation.classification:
        report = evaluation.classification
        tree["classification"] = {
            "headline": {name: plain_estimate(estimate) for name, estimate in report.headline.items()},
            "n_bootstrap": report.n_bootstrap,
            "undefined_labels": report.undefined,
            "labels": report.labels.to_dict(orient="index"),
        }
    if evaluation.reconstruction:
        drawn = evaluation.reconstruction
        tree["reconstruction"] = {
            "masking": drawn.masking.model_dump(mode="json"),
            "overall": asdict(drawn.overall),
            "by_lead": drawn.by_lead.to_dict(orient="index"),
            "by_group": drawn.by_group.to_dict(orient="index"),
        }
    if evaluation.given_leads:
        found = evaluation.given_leads
        tree["given_leads"] = {
            "given": found.leads.given,
            "derived": found.leads.derived,
            "reconstructed": found.leads.reconstructed,
            "share_of_training_records_with_as_many_leads_hidden": found.rarity,
            "figures": found.figures.to_dict(orient="records"),
        }
    if evaluation.stress:
        stress = evaluation.stress
        tree["stress"] = {
            "clean_macro_auroc": plain_estimate(stress.clean),
            "n_bootstrap": stress.n_bootstrap,
            "perturbations": stress.losses.to_dict(orient="index"),
            "summary": stress.summary.to_dict(orient="index"),
        }
    return strict(tree)


def plain_estimate(estimate: Estimate) -> dict[str, float]:
    """A figure as a tree; without an interval where none was computed."""
    return estimate._asdict() if math.isfinite(estimate.low) else {"value": estimate.value}


def strict(value: Any) -> Any:
    """The same tree with null for numbers that JSON does not know, and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
