"""The report as one HTML file, written card by card, so that memory does not grow with the number of records."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from data_prep.errors import UserError
from data_prep.files import written_in_parts
from data_prep.readers import OtherFile
from data_prep.safe_text import printable
from ecgmtl.inference.predictor import Predictor
from ecgmtl.inference.result import Failure, Prediction, Result
from ecgmtl.report_page.card import Card, card
from ecgmtl.report_page.facts import facts

Add = Callable[[Result], None]
"""Function that adds a result to the page."""
MOST_DRAWN = 150_000_000
"""Largest sum of the lengths of all packed signals, in characters. Later records have a card without an ECG."""


class ReportError(UserError):
    """A path to which no page can be written."""


class Detail:
    """Choice of the records with details: the first `n` ones, and `n` more with findings."""

    def __init__(self, n: int) -> None:
        self.first, self.flagged = n, n

    def wants(self, result: Prediction | Failure) -> bool:
        """Return whether a result gets details, and count it."""
        if isinstance(result, Failure):
            return False
        if self.first > 0:
            self.first -= 1
            return True
        if self.flagged > 0 and result.findings:
            self.flagged -= 1
            return True
        return False


def require_page(path: Path) -> None:
    """Raise ReportError if a name does not end in .html."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ReportError(f"{path}: a report should end in .html; found '{path.suffix}'.")


@contextmanager
def open_report(path: Path, predictor: Predictor, model: str, n_detailed: int) -> Iterator[Add]:
    """Yield a function that adds results to the page. The file appears under its name when the block has ended.

    `model` is the model's name as the user gave it. The first `n_detailed` records, and as many more with findings,
    have details that take longer.

    Raises:
        ReportError: the name does not end in .html, or the folder cannot be written.
    """
    require_page(path)
    with (
        written_in_parts(path, ReportError) as beside,
        beside.open("w", encoding="utf-8", newline="\n") as file,
    ):
        writer = Writer(file, predictor, Detail(n_detailed))
        file.write(head(f"ECG report: {printable(model)}"))
        yield writer.add
        file.write(tail(facts(predictor.metadata, model)))


class Writer:
    """Writer of cards to an open page, which leaves out signals once the page is long enough."""

    def __init__(self, file: IO[str], predictor: Predictor, detail: Detail) -> None:
        self.file, self.predictor, self.detail = file, predictor, detail
        self.n_cards, self.n_drawn = 0, 0

    def add(self, result: Result) -> None:
        """Add one result."""
        if isinstance(result, OtherFile):
            self.file.write(data_block("other", {"path": printable(str(result.path)), "kind": str(result.kind)}))
            return
        made = card(result, self.predictor, self.detail.wants(result))
        if made.drawing is not None and self.n_drawn + len(made.drawing) > MOST_DRAWN:
            made = Card(made.summary | {"omitted": True}, None)
        self.n_drawn += len(made.drawing or "")
        self.file.write(data_block("card", made.summary))
        if made.drawing is not None:
            self.file.write(f'<script type="text/plain" id="drawing-{self.n_cards}">{made.drawing}</script>\n')
        self.n_cards += 1


def data_block(kind: str, value: Any) -> str:
    """Return JSON in an element that is not run. `<` is escaped, so that no text can end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" class="{kind}">{text}</script>\n'


def asset(name: str) -> str:
    """Return a file of this package."""
    return files("ecgmtl.report_page").joinpath(name).read_text(encoding="utf-8")


def script() -> str:
    """Return all of the page's code."""
    return f'"use strict";\n{asset("paper.js")}\n{asset("card.js")}\n{asset("page.js")}'


def source_hash(text: str) -> str:
    """Return the hash by which a content security policy allows an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def content_policy(script: str, style: str, further: str = "") -> str:
    """Return the content security policy under which only this script and this style run, and nothing is loaded.

    `further` are more directives, each followed by a semicolon and a space.
    """
    return (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
        f"{further}img-src data:; base-uri 'none'; form-action 'none'"
    )


def head(title: str) -> str:
    """Return the page's beginning, up to where its data go. Only its own code and style run, and nothing is loaded."""
    style, start = asset("page.css"), asset("page.html").partition("{{data}}")[0]
    policy = content_policy(script(), style)
    return start.replace("{{policy}}", policy).replace("{{style}}", style).replace("{{title}}", escape(title))


def tail(model: dict[str, Any]) -> str:
    """Return the page's end, with its code."""
    end = asset("page.html").partition("{{data}}")[2]
    return data_block("facts", model) + end.replace("{{script}}", script())
