"""The report as text: Markdown whose tables are aligned, so that a terminal shows them well too."""

import math
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from ecgmtl.evaluation.classification import FREQUENT, ClassificationReport, Estimate
from ecgmtl.evaluation.given_leads import ALL, HALVES, GivenLeadsReport
from ecgmtl.evaluation.markdown import escaped
from ecgmtl.evaluation.reconstruction import ReconstructionReport
from ecgmtl.evaluation.st_segment import J_SECONDS, ST_SECONDS
from ecgmtl.evaluation.stress import StressReport

HEADLINE = {
    "macro_auroc": "macro AUROC",
    "macro_auroc_frequent": f"macro AUROC, labels with ≥ {FREQUENT} positives",
    "macro_auprc": "macro AUPRC (average precision)",
    "fmax": "Fmax, by record",
    "accuracy": "accuracy (Jaccard), by record",
    "precision": "precision, by record",
    "recall": "recall, by record",
    "f1": "F1, by record",
    "exact": "records with exactly their labels",
    "one_error": "one-error",
    "macro_f1": "macro F1",
    "macro_sensitivity": "macro sensitivity",
    "macro_specificity": "macro specificity",
    "brier": "Brier score, mean over labels",
    "ece": "ECE (15 bins), mean over labels",
    "ece_before_calibration": "ECE before calibration",
}
"""What the headline figures are called for people, in their order."""

FIGURES = {
    "rmse_mv": ("RMSE mV", 4),
    "mae_mv": ("MAE mV", 4),
    "pearson_r": ("Pearson r", 3),
    "prd_percent": ("PRD %", 1),
    "snr_db": ("SNR dB", 2),
}
"""Titles and decimals of the figures of a reconstruction."""

FITTED = (
    "\nThresholds and calibration were fitted on whole records of the validation split; "
    "on that split itself the figures that depend on them flatter."
)
NOTES = """
- By record: means over records of how the predicted set meets the true one; where both are empty a record counts 1,
  where one is, 0.
- One-error: share of the records with a label whose highest probability is on none of theirs.
- Fmax: one threshold for all labels; precision over records with a prediction, recall over records with a label.
- ECE: 15 bins of equal width; mean over records of the distance between mean probability and observed share.
- Intervals: patients are drawn again with replacement, each with all of their records; percentiles, for macro AUPRC
  mirrored, because resampling pushes it up. Those of labels with fewer than 20 positives are rather too narrow.
- PRD and SNR: the error against the variance of the hidden samples, pooled over records."""


def render(
    classification: ClassificationReport | None,
    reconstruction: ReconstructionReport | None,
    n_shown: int | None,
) -> str:
    """All sections that there is something to say in; the labels' table only if it has at most `n_shown` rows."""
    parts: list[str] = []
    if classification:
        parts += ["\n## Classification\n", headline(classification)]
        parts += notes_on(classification)
        if n_shown is None or len(classification.labels) <= n_shown:
            parts += ["\n### By label\n", label_table(classification.labels)]
    if reconstruction:
        parts += ["\n## Reconstruction of hidden samples\n", reconstruction_tables(reconstruction)]
    if n_shown is None and classification:
        parts += ["\n## How the figures are defined", NOTES]
    return "\n".join(parts) + "\n"


def headline(report: ClassificationReport) -> str:
    rows = [(text, number(report.headline[name].value), span(report.headline[name])) for name, text in HEADLINE.items()]
    return markdown(("figure", "value", f"95 % interval ({report.n_bootstrap} resamples of patients)"), rows)


def notes_on(report: ClassificationReport) -> list[str]:
    """What a reader of the macro figures must know."""
    notes = []
    if report.undefined:
        names, n_labels = escaped(", ".join(report.undefined)), len(report.labels)
        notes.append(
            f"\nNo AUROC, and left out of macro figures: {names} ({len(report.undefined)} of {n_labels} labels have no "
            f"positive or no negative record here)."
        )
    frequent = int((report.labels["n_positive"] >= FREQUENT).sum())
    return [*notes, FITTED, f"\n{frequent} of {len(report.labels)} labels have at least {FREQUENT} positives."]


def label_table(labels: pd.DataFrame) -> str:
    rows = []
    for name, row in labels.iterrows():
        ends = Estimate(row["auroc"], row.get("auroc_low", math.nan), row.get("auroc_high", math.nan))
        figures = [number(row[key]) for key in ("auprc", "threshold", "f1", "sensitivity", "specificity", "ece")]
        rows.append((str(name), f"{row['n_positive']:.0f}", number(ends.value), span(ends), *figures))
    titles = ("AUPRC", "threshold", "F1", "sensitivity", "specificity", "ECE")
    return markdown(("label", "positives", "AUROC", "95 % interval", *titles), rows)


def reconstruction_tables(report: ReconstructionReport) -> str:
    """Overall, by superclass and by lead, one above the other."""
    masking = report.masking
    pools = {"all, 8 independent leads": pd.Series(asdict(report.overall))}
    pools |= {str(name): row for name, row in report.by_group.iterrows()}
    pools |= {f"lead {name}": row for name, row in report.by_lead.iterrows()}
    rows = [
        (name, f"{row['n_samples']:.0f}", *(number(row[key], places) for key, (_, places) in FIGURES.items()))
        for name, row in pools.items()
    ]
    table = markdown(("pool", "hidden samples", *(title for title, _ in FIGURES.values())), rows)
    return (
        f"Hidden are {masking.blocks()}, and {masking.leads:.0%} of the leads; visible samples do not count. "
        f"A PRD of 100 % is what drawing the mean gives.\n\n{table}"
    )


def number(value: float, places: int = 4) -> str:
    """With so many decimals; a dash for what is not defined."""
    return f"{value:.{places}f}" if math.isfinite(value) else "–"


def span(estimate: Estimate) -> str:
    return f"{estimate.low:.4f} – {estimate.high:.4f}" if math.isfinite(estimate.low) else ""


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An aligned table: the first column to the left, the others to the right."""
    titles, rows = [escaped(title) for title in titles], [[escaped(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in rows)])


DRAWN = {**FIGURES, "mean_r": ("mean r", 3)}
DRAWN_NOTE = (
    f"Hidden samples alone count; of {ALL} also those that follow exactly from what is given. Pearson r is pooled; "
    "mean r is the mean over each record's each lead. ST segment: the samples "
    f"{ST_SECONDS[0] * 1000:.0f} to {ST_SECONDS[1] * 1000:.0f} ms after the J point, which is taken "
    f"{J_SECONDS * 1000:.0f} ms after the peak of each beat of the recorded signal."
)
STRESS_NOTE = (
    "Signals are changed in mV before the model; a loss is what the macro AUROC falls by, its interval from the same "
    "resamples of patients for both. Flat are all 12 leads in turn, and the model is not told; missing are V1 to V6, "
    "for a missing limb lead follows from the others. A worst lead was chosen for its loss, so its interval is too "
    "narrow."
)


def given_leads_section(report: GivenLeadsReport, n_shown: int | None) -> str:
    """What the model draws from given leads and from half of the time; single leads only in the written report."""
    leads = report.leads
    parts = [
        f"\n## Reconstruction from {leads}\n",
        f"Hidden are {', '.join(leads.reconstructed)}. As many independent leads were hidden in {report.rarity:.2%} of "
        f"the records that the model learnt from. {DRAWN_NOTE}\n",
        given_leads_table(report.figures[report.figures["hidden"] == "leads"], n_shown),
    ]
    for mask, half in HALVES.items():
        parts.append(f"\n### With {half.blocks()} hidden in its place\n")
        parts.append(given_leads_table(report.figures[report.figures["hidden"] == mask], n_shown))
    return "\n".join(parts) + "\n"


def given_leads_table(figures: pd.DataFrame, n_shown: int | None) -> str:
    rows = []
    for _, row in figures.iterrows():
        in_st = row["samples"] == "ST"
        if (row["pool"].startswith("lead ") and (in_st or n_shown is not None)) or (in_st and row["pool"] == ALL):
            continue
        values = (number(row[key], places) for key, (_, places) in DRAWN.items())
        rows.append((f"{'ST segment, ' * in_st}{row['pool']}", f"{row['n_samples']:.0f}", *values))
    return markdown(("pool", "hidden samples", *(title for title, _ in DRAWN.values())), rows)


def stress_section(report: StressReport, n_shown: int | None) -> str:
    """The loss under each perturbation, the greatest first; single leads only in the written report."""
    parts = [
        "\n## Under stress\n",
        f"Macro AUROC as recorded: {number(report.clean.value)}. {STRESS_NOTE}\n",
        stress_table(report.summary.sort_values("loss", ascending=False)),
    ]
    if n_shown is None:
        parts += ["\n### Each lead\n", stress_table(report.losses[report.losses["family"] != ""])]
    return "\n".join(parts) + "\n"


def stress_table(table: pd.DataFrame) -> str:
    rows = []
    for _, row in table.iterrows():
        ends = Estimate(row["loss"], row["loss_low"], row["loss_high"])
        rows.append((row["description"], number(row["macro_auroc"]), f"{ends.value:+.4f}", span(ends)))
    return markdown(("perturbation", "macro AUROC", "loss", "95 % interval, paired"), rows)
