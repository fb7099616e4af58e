"""What is said of reconstruction from given leads and of losses under stress, as the report says it."""

import pandas as pd

from ecgmtl.classification_report import Estimate
from ecgmtl.given_leads_report import ALL, HALVES, GivenLeadsReport
from ecgmtl.report_text import FIGURES, markdown, number, span
from ecgmtl.st_segment import J_SECONDS, ST_SECONDS
from ecgmtl.stress_report import StressReport

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
    for hidden, half in HALVES.items():
        parts.append(f"\n### With {half.blocks()} hidden in its place\n")
        parts.append(given_leads_table(report.figures[report.figures["hidden"] == hidden], n_shown))
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
