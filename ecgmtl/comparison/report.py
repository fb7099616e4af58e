"""The report on a comparison: Markdown with pictures, one HTML page with everything in it, tables for programs."""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from data_prep.files import write_text, write_whole
from ecgmtl.comparison.findings import Figures, measure, sections
from ecgmtl.comparison.plots import area_bars, forest, learning_curves, threshold_curves
from ecgmtl.comparison.results import Comparison, read_comparison
from ecgmtl.comparison.tables import flat
from ecgmtl.comparison.text import Section
from ecgmtl.evaluation.markdown import escaped, without_tags
from ecgmtl.evaluation.text import markdown

DPI = 100
REPORT = ("report.md", "report.html")
PICTURES = "pictures"
TABLES = "tables"
TABLED = ("arms", "courses", "late", "thresholds", "tuning", "claims")
CAPTIONS = {
    "forest": "Final macro AUROC: paired difference to the reference, with 95 % interval over seeds and patients. "
    "Numbers at the right: difference and p-value after Holm.",
    "curves": "Validation macro AUROC, validation loss, and paired difference in macro AUROC, against training records "
    "seen: mean over seeds and 95 % band. Black is the reference.",
    "curves_seconds": "The same against seconds of training.",
    "areas": "Area under the learning curve: paired difference to the reference, with 95 % interval over seeds. "
    "Numbers at the right: the area itself.",
    "thresholds": "Share of runs that have reached a threshold to stay (one minus Kaplan-Meier). Lines are drawn a "
    "little apart.",
}
STYLE = """
*, ::before, ::after { box-sizing: border-box }
:root { color-scheme: light dark; --text: #222; --page: #fff; --soft: #555; --line: #ddd;
  --strong: #888; --row: #f4f8fb }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --page: #16181c; --soft: #aaa; --line: #3a3d44; --strong: #777; --row: #22262d }
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
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
figcaption { font-size: 14px; color: var(--soft) }
@media (max-width: 600px) {
  body { margin: 1rem auto; padding: 0 .75rem } h1 { font-size: 1.5rem } h2 { font-size: 1.2rem }
  th:first-child, td:first-child { white-space: normal; max-width: 8rem }
  .words th, .words td { min-width: 6rem }
}
"""


def write_report(
    folder: Path, out: Path | None = None, title: str = "Comparison of ways of training", n_resamples: int = 2000
) -> Path:
    """Write report.md, report.html, pictures and tables of all results in a folder; beside them unless `out` is given.

    Gives the page.

    Raises:
        ComparisonError: the folder holds nothing that can be compared.
        OSError: the report cannot be written.
    """
    out = out or folder
    comparison = read_comparison(folder)
    figures = measure(comparison, n_resamples)
    parts = sections(comparison, figures)
    pictures = {name: as_png(figure) for name, figure in draw(comparison, figures).items()}
    for sub in (PICTURES, TABLES):
        (out / sub).mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        write_picture(out / PICTURES / f"{name}.png", picture)
    for name, table in tables(figures).items():
        write_text(out / TABLES / f"{name}.csv", table)
    text, page = (out / name for name in REPORT)
    write_text(text, as_markdown(title, parts))
    write_text(page, as_html(title, parts, pictures))
    return page


def draw(comparison: Comparison, figures: Figures) -> dict[str, Figure]:
    return {
        "forest": forest(comparison, figures.arms),
        "curves": learning_curves(comparison, "samples_seen"),
        "curves_seconds": learning_curves(comparison, "seconds"),
        "areas": area_bars(comparison, figures.courses),
        "thresholds": threshold_curves(comparison),
    }


def tables(figures: Figures) -> dict[str, str]:
    """All figures at full precision, as CSV by name."""
    rows = {name: flat(getattr(figures, name)) for name in TABLED}
    frames = {name: frame for name, frame in (rows | figures.named).items() if len(frame)}
    return {name: frame.to_csv(index=False, float_format="%.6g", lineterminator="\n") for name, frame in frames.items()}


def as_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def write_picture(path: Path, picture: bytes) -> None:
    write_whole(path, lambda beside: beside.write_bytes(picture))


def as_markdown(title: str, parts: Sequence[Section]) -> str:
    lines = [f"# {escaped(title)}"]
    for part in parts:
        lines += [f"## {escaped(part.title)}", *map(without_tags, part.words)]
        if part.table is not None:
            rows = [[str(cell) for cell in row] for row in part.table.itertuples(index=False)]
            lines.append(markdown(tuple(part.table.columns), rows))
        lines += [f"![{name}]({PICTURES}/{name}.png)\n\n{CAPTIONS[name]}" for name in part.pictures]
        lines += ["\n".join(f"- {without_tags(note)}" for note in part.notes)] if part.notes else []
    return "\n\n".join(lines) + "\n"


def as_html(title: str, parts: Sequence[Section], pictures: dict[str, bytes]) -> str:
    """One page that needs nothing beside it: pictures are part of it."""
    body = "\n".join(section_html(part, pictures) for part in parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section_html(part: Section, pictures: dict[str, bytes]) -> str:
    lines = [f"<h2>{escape(part.title)}</h2>", *(f"<p>{escape(words)}</p>" for words in part.words)]
    if part.table is not None:
        kind = "table words" if {"what it does", "claim"} & set(part.table.columns) else "table"
        lines.append(f'<div class="{kind}">{part.table.to_html(index=False, border=0, escape=True)}</div>')
    for name in part.pictures:
        data, caption = base64.b64encode(pictures[name]).decode(), escape(CAPTIONS[name])
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        lines.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    if part.notes:
        lines.append("<ul>" + "".join(f"<li>{escape(note)}</li>" for note in part.notes) + "</ul>")
    return "\n".join(lines)
