"""An evaluation as text: Markdown with aligned tables, which read well on a terminal, too."""

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
"""Names of the headline figures, in their order."""

FIGURES = {
    "rmse_mv": ("RMSE mV", 4),
    "mae_mv": ("MAE mV", 4),
    "pearson_r": ("Pearson r", 3),
    "prd_percent": ("PRD %", 1),
    "snr_db": ("SNR dB", 2),
}
"""Title and number of decimals of each figure of a reconstruction."""

FITTED = (
    "\nThresholds and calibration were fitted on whole records of the validation split, so figures that depend on them "
    "are optimistic on that split."
)
CROSS_FITTED = (
    "\nThresholds and calibration were fitted on these records. Figures that depend on them are cross-fitted: each "
    "fifth of the patients is evaluated with what the other four give."
)
NOTES = """
- By record: mean over records of the agreement between predicted and true labels. A record counts 1 where both sets are
  empty, and 0 where only one is.
- One-error: among records with a label, the fraction whose most probable label is not one of their labels.
- Fmax: one threshold for all labels. Precision is over records with a prediction, recall over records with a label.
- ECE: 15 bins of equal width. Mean over records of the distance between mean probability and observed frequency.
- Intervals: patients are resampled with replacement, each with all of their records. The limits are percentiles; those
  of macro AUPRC are mirrored, because resampling raises it. Intervals of labels with fewer than 20 positives are
  somewhat too narrow.
- PRD and SNR: the error relative to the variance of the masked samples, pooled over records."""


def render(
    classification: ClassificationReport | None,
    reconstruction: ReconstructionReport | None,
    n_shown: int | None,
) -> str:
    """Return the sections of the trained tasks.

    n_shown: largest number of labels for which the table by label is included; None for the full report.
    """
    parts: list[str] = []
    if classification:
        parts += ["\n## Classification\n", headline(classification)]
        parts += notes_on(classification)
        if n_shown is None or len(classification.labels) <= n_shown:
            parts += ["\n### By label\n", label_table(classification.labels)]
    if reconstruction:
        parts += ["\n## Reconstruction of masked samples\n", reconstruction_tables(reconstruction)]
    if n_shown is None and classification:
        parts += ["\n## Definitions", NOTES]
    return "\n".join(parts) + "\n"


def headline(report: ClassificationReport) -> str:
    """Return the table of headline figures."""
    rows = [(text, number(report.headline[name].value), span(report.headline[name])) for name, text in HEADLINE.items()]
    return markdown(("figure", "value", f"95 % interval ({report.n_bootstrap} resamples of patients)"), rows)


def notes_on(report: ClassificationReport) -> list[str]:
    """Return the notes that the macro figures need."""
    notes = []
    if report.undefined:
        names, n_labels = escaped(", ".join(report.undefined)), len(report.labels)
        notes.append(
            f"\nWithout AUROC, and left out of macro figures: {names} ({len(report.undefined)} of {n_labels} labels "
            f"have no positive or no negative record here)."
        )
    frequent = int((report.labels["n_positive"] >= FREQUENT).sum())
    fitted = CROSS_FITTED if report.answers.cross_fitted else FITTED
    return [*notes, fitted, f"\n{frequent} of {len(report.labels)} labels have at least {FREQUENT} positives."]


def label_table(labels: pd.DataFrame) -> str:
    """Return the table with a row per label."""
    rows = []
    for name, row in labels.iterrows():
        auroc = Estimate(row["auroc"], row.get("auroc_low", math.nan), row.get("auroc_high", math.nan))
        figures = [number(row[key]) for key in ("auprc", "threshold", "f1", "sensitivity", "specificity", "ece")]
        rows.append((str(name), f"{row['n_positive']:.0f}", number(auroc.value), span(auroc), *figures))
    titles = ("AUPRC", "threshold", "F1", "sensitivity", "specificity", "ECE")
    return markdown(("label", "positives", "AUROC", "95 % interval", *titles), rows)


def reconstruction_tables(report: ReconstructionReport) -> str:
    """Return the figures overall, by superclass and by lead, in one table."""
    masking = report.masking
    pools = {"all, 8 independent leads": pd.Series(asdict(report.overall))}
    pools |= {str(name): row for name, row in report.by_group.iterrows()}
    pools |= {f"lead {name}": row for name, row in report.by_lead.iterrows()}
    rows = [
        (name, f"{row['n_samples']:.0f}", *(number(row[key], decimals) for key, (_, decimals) in FIGURES.items()))
        for name, row in pools.items()
    ]
    table = markdown(("pool", "masked samples", *(title for title, _ in FIGURES.values())), rows)
    return (
        f"Masked: {masking.blocks()}, and {masking.leads:.0%} of the leads. Visible samples do not count. "
        f"Predicting the mean everywhere gives a PRD of 100 %.\n\n{table}"
    )


def number(value: float, decimals: int = 4) -> str:
    """Format a number; a dash stands for one that is not defined."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else "–"


def span(estimate: Estimate) -> str:
    """Format an interval; empty where none was computed."""
    return f"{estimate.low:.4f} – {estimate.high:.4f}" if math.isfinite(estimate.low) else ""


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table, with the first column flush left and the others flush right."""
    titles, rows = [escaped(title) for title in titles], [[escaped(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in rows)])


GIVEN_FIGURES = {**FIGURES, "mean_r": ("mean r", 3)}
GIVEN_NOTE = (
    f"Only masked samples count; `{ALL}` also counts leads that follow exactly from the given ones. Pearson r is "
    "pooled over records; mean r is the mean over every lead of every record. ST segment: samples "
    f"{ST_SECONDS[0] * 1000:.0f} to {ST_SECONDS[1] * 1000:.0f} ms after the J point, which is taken "
    f"{J_SECONDS * 1000:.0f} ms after the peak of each beat of the recorded signal."
)
STRESS_NOTE = (
    "Signals are perturbed in mV before they reach the model. The loss is the decrease of macro AUROC. Its interval "
    "is paired: both values come from the same resamples of patients. Each of the 12 leads in turn is flat, but not "
    "masked. Each of V1 to V6 in turn is missing and masked; a missing limb lead would follow from the others. The "
    "worst lead was chosen for its loss, so its interval is too narrow."
)


def given_leads_section(report: GivenLeadsReport, n_shown: int | None) -> str:
    """Return the section on reconstruction from given leads and from half of the time.

    Single leads are listed only in the full report, where `n_shown` is None.
    """
    leads = report.leads
    parts = [
        f"\n## Reconstruction from {leads}\n",
        f"Masked: {', '.join(leads.reconstructed)}. At least as many independent leads were masked in "
        f"{report.rarity:.2%} of the training records. {GIVEN_NOTE}\n",
        given_leads_table(report.figures[report.figures["masked"] == "leads"], n_shown),
    ]
    for mask, half in HALVES.items():
        parts.append(f"\n### Masked: {half.blocks()}\n")
        parts.append(given_leads_table(report.figures[report.figures["masked"] == mask], n_shown))
    return "\n".join(parts) + "\n"


def given_leads_table(figures: pd.DataFrame, n_shown: int | None) -> str:
    """Return the table of one way of masking."""
    rows = []
    for _, row in figures.iterrows():
        in_st = row["samples"] == "ST"
        if (row["pool"].startswith("lead ") and (in_st or n_shown is not None)) or (in_st and row["pool"] == ALL):
            continue
        values = (number(row[key], decimals) for key, (_, decimals) in GIVEN_FIGURES.items())
        rows.append((f"{'ST segment, ' * in_st}{row['pool']}", f"{row['n_samples']:.0f}", *values))
    return markdown(("pool", "masked samples", *(title for title, _ in GIVEN_FIGURES.values())), rows)


def stress_section(report: StressReport, n_shown: int | None) -> str:
    """Return the section on the loss under each perturbation, the largest first.

    Single leads are listed only in the full report, where `n_shown` is None.
    """
    parts = [
        "\n## Stress test\n",
        f"Macro AUROC as recorded: {number(report.clean.value)}. {STRESS_NOTE}\n",
        stress_table(report.summary.sort_values("loss", ascending=False)),
    ]
    if n_shown is None:
        parts += ["\n### Each lead\n", stress_table(report.losses[report.losses["family"] != ""])]
    return "\n".join(parts) + "\n"


def stress_table(table: pd.DataFrame) -> str:
    """Return the table with a row per perturbation."""
    rows = []
    for _, row in table.iterrows():
        loss = Estimate(row["loss"], row["loss_low"], row["loss_high"])
        rows.append((row["description"], number(row["macro_auroc"]), f"{loss.value:+.4f}", span(loss)))
    return markdown(("perturbation", "macro AUROC", "loss", "95 % interval, paired"), rows)
