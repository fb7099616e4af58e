"""Report on a comparison: Markdown with plots, one self-contained HTML page, and tables as CSV."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from data_prep.files import write_text, write_whole
from ecgmtl.comparison.comparison import Comparison, read_comparison
from ecgmtl.comparison.findings import Figures, measure, sections
from ecgmtl.comparison.plots import plot_areas, plot_curvature, plot_differences, plot_learning_curves, plot_thresholds
from ecgmtl.comparison.tables import flat
from ecgmtl.comparison.text import Section, UnitName
from ecgmtl.evaluation.markdown import escaped, without_tags
from ecgmtl.evaluation.text import markdown

DPI = 100
REPORT = ("report.md", "report.html")
PLOTS = "pictures"
TABLES = "tables"
TABLED = ("arms", "folds", "cells", "courses", "late", "thresholds", "tuning", "claims")
CAPTIONS = {
    "forest": "Final macro AUROC: paired difference from the reference, with 95 % interval {whole}. "
    "Numbers at the right: difference and p-value after Holm.",
    "curves": "Validation macro AUROC, validation loss, and paired difference in macro AUROC, against training records "
    "seen: mean over {units} and 95 % band. The first line of each legend is the reference.",
    "curves_seconds": "The same curves against seconds of training.",
    "areas": "Area under the learning curve: paired difference from the reference, with 95 % interval over {units}. "
    "Numbers at the right: the area itself.",
    "thresholds": "Fraction of runs that have reached and held a threshold (one minus Kaplan-Meier). Lines are shifted "
    "slightly to keep them apart.",
    "curvature": "Hessian of the classification loss and tangent kernel of the logits on a fixed batch, at the start, "
    "middle and end of the last stage that measured them: mean over {units} and 95 % band.",
}
OVER_TOO: dict[UnitName, str] = {"seeds": " and patients", "folds": ""}
"""Addition to the units of an interval of a final score, by its units."""
STYLE = """
*, ::before, ::after { box-sizing: border-box }
:root { color-scheme: light dark; --text: #222; --page: #fff; --soft: #555; --line: #ddd;
  --strong: #888; --row: #f4f8fb }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --page: #16181c; --soft: #aaa; --line: #3a3d44; --strong: #777; --row: #22262d }
  .plot img { filter: invert(.9) hue-rotate(180deg) }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem }
ul { padding-left: 1.2rem }
.table { overflow-x: auto } table { border-collapse: collapse; min-width: 100%;
  font-size: 12.5px; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .5rem; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid var(--strong); vertical-align: bottom; white-space: normal }
td { border-bottom: 1px solid var(--line) } tr:hover td { background: var(--row) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--page) }
.words th, .words td { text-align: left; white-space: normal }
.words th:nth-last-child(-n+2), .words td:nth-last-child(-n+2) { min-width: 5rem }
figure { margin: 1.5rem 0 } .plot { overflow-x: auto } .plot img { display: block; width: 100%; height: auto }
figcaption { font-size: 14px; color: var(--soft) }
@media (max-width: 600px) {
  body { margin: 1rem auto; padding: 0 .75rem } h1 { font-size: 1.5rem } h2 { font-size: 1.2rem }
  th:first-child, td:first-child { white-space: normal; max-width: 8rem }
  .words th, .words td { min-width: 3.5rem }
  .plot img { width: auto; max-width: none; height: auto; zoom: .75 }
}
"""


def write_report(
    folder: Path, out: Path | None = None, title: str = "Comparison of ways of training", n_resamples: int = 2000
) -> Path:
    """Write report.md, report.html, plots and tables on all results of a folder, and return the path of the page.

    The report goes into the same folder unless `out` is given.

    Raises:
        ComparisonError: the folder has no results to compare.
        OSError: the report cannot be written.
    """
    out = out or folder
    comparison = read_comparison(folder)
    figures = measure(comparison, n_resamples)
    parts = sections(comparison, figures)
    plots = {name: as_png(figure) for name, figure in plot(comparison, figures).items()}
    for sub in (PLOTS, TABLES):
        (out / sub).mkdir(parents=True, exist_ok=True)
    for name, image in plots.items():
        write_image(out / PLOTS / f"{name}.png", image)
    for name, table in tables(figures).items():
        write_text(out / TABLES / f"{name}.csv", table)
    text, page = (out / name for name in REPORT)
    write_text(text, as_markdown(title, parts))
    write_text(page, as_html(title, parts, plots))
    return page


def plot(comparison: Comparison, figures: Figures) -> dict[str, Figure]:
    """Return all plots by name."""
    plots = {
        "forest": plot_differences(comparison, figures.arms),
        "curves": plot_learning_curves(comparison, "samples_seen"),
        "curves_seconds": plot_learning_curves(comparison, "seconds"),
        "areas": plot_areas(comparison, figures.courses),
        "thresholds": plot_thresholds(comparison),
    }
    return plots | ({"curvature": plot_curvature(comparison)} if len(figures.named["curvature"]) else {})


def tables(figures: Figures) -> dict[str, str]:
    """Return all figures as CSV by name, with six significant digits."""
    rows = {name: flat(getattr(figures, name)) for name in TABLED}
    frames = {name: frame for name, frame in (rows | figures.named).items() if len(frame)}
    return {name: frame.to_csv(index=False, float_format="%.6g", lineterminator="\n") for name, frame in frames.items()}


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def write_image(path: Path, image: bytes) -> None:
    """Write an image atomically."""
    write_whole(path, lambda beside: beside.write_bytes(image))


def caption_of(name: str, part: Section) -> str:
    """Return the caption of a plot, which says what its intervals are over."""
    return CAPTIONS[name].format(units=part.units, whole=f"over {part.units}{OVER_TOO[part.units]}")


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    """Return the report as Markdown."""
    lines = [f"# {escaped(title)}"]
    for part in parts:
        lines += [f"## {escaped(part.title)}", *map(without_tags, part.words)]
        if part.table is not None:
            rows = [[str(cell) for cell in row] for row in part.table.itertuples(index=False)]
            lines.append(markdown(tuple(part.table.columns), rows))
        lines += [f"![{name}]({PLOTS}/{name}.png)\n\n{caption_of(name, part)}" for name in part.plots]
        lines += ["\n".join(f"- {without_tags(note)}" for note in part.notes)] if part.notes else []
    return "\n\n".join(lines) + "\n"


def as_html(title: str, parts: Sequence[Section], plots: dict[str, bytes]) -> str:
    """Return the report as one self-contained HTML page, with the plots embedded."""
    body = "\n".join(section_html(part, plots) for part in parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section_html(part: Section, plots: dict[str, bytes]) -> str:
    """Return one section as HTML."""
    lines = [f"<h2>{escape(part.title)}</h2>", *(f"<p>{escape(words)}</p>" for words in part.words)]
    if part.table is not None:
        kind = "table words" if {"description", "claim"} & set(part.table.columns) else "table"
        lines.append(f'<div class="{kind}">{part.table.to_html(index=False, border=0, escape=True)}</div>')
    for name in part.plots:
        data, caption = base64.b64encode(plots[name]).decode(), escape(caption_of(name, part))
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        lines.append(f'<figure><div class="plot">{image}</div><figcaption>{caption}</figcaption></figure>')
    if part.notes:
        lines.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in part.notes) + "</ul>")
    return "\n".join(lines)
