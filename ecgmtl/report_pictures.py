"""The pictures of a report."""

import numpy as np
from matplotlib.figure import Figure

from ecgmtl.classification_report import ClassificationReport
from ecgmtl.metrics import precision_recall_curve, roc_curve
from ecgmtl.paper import plot_ecg
from ecgmtl.plots import Points, loss_bars, ranking_curves, reliability_panels
from ecgmtl.reconstruction_report import ReconstructionReport
from ecgmtl.reliability import Bins, expected_calibration_error
from ecgmtl.stress_report import StressReport


def draw_rankings(report: ClassificationReport) -> Figure:
    """ROC and precision-recall curves of every label that has both classes, the most frequent first."""
    labels = report.labels.drop(index=list(report.undefined)).sort_values("n_positive", ascending=False, kind="stable")
    scores, truth = report.answers.probabilities, report.answers.truth
    columns = {name: report.answers.label_names.index(name) for name in labels.index.astype(str)}
    return ranking_curves(
        {name: roc_curve(scores[:, place], truth[:, place]) for name, place in columns.items()},
        {name: precision_recall_curve(scores[:, place], truth[:, place]) for name, place in columns.items()},
        {str(name): (row["auroc"], row["auprc"]) for name, row in labels.iterrows()},
    )


def draw_reliability(report: ClassificationReport) -> Figure:
    order = np.argsort(-report.labels["n_positive"].to_numpy(), kind="stable")
    errors = expected_calibration_error(report.bins)

    def points(bins: Bins) -> list[Points]:
        held = bins.n_records > 0
        return [(bins.probability[i][held[i]], bins.observed[i][held[i]]) for i in order]

    names = [str(report.labels.index[i]) for i in order]
    return reliability_panels(
        names, points(report.bins), points(report.plain_bins), report.bins.n_records[order], list(errors[order])
    )


def draw_reconstruction(report: ReconstructionReport) -> Figure:
    """The record with the median error on clinical paper, redrawn where it was hidden."""
    drawn = report.typical
    title = f"{drawn.name}, the record with the median error"
    return plot_ecg(drawn.signal, drawn.fs, title, reconstruction=drawn.reconstruction, hidden=drawn.hidden)


def draw_stress(report: StressReport) -> Figure:
    """What each perturbation costs, the greatest loss on top."""
    table = report.summary.sort_values("loss", ascending=False)
    spans = table[["loss_low", "loss_high"]].to_numpy()
    title = f"Loss of macro AUROC; {report.clean.value:.3f} as recorded"
    return loss_bars(list(table["description"]), table["loss"].to_numpy(), spans, title)
