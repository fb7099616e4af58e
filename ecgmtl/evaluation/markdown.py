"""Escaping of names that users choose (labels, arms, stages, runs) in Markdown."""

import re

from data_prep.safe_text import printable

_MARKS = re.compile(r"[\\|`]|\](?=\()")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def escaped(text: str) -> str:
    """Escape `text` so that Markdown shows it literally: it starts or ends no table cell, link, code or HTML."""
    return _TAG.sub("&lt;", _MARKS.sub(r"\\\g<0>", printable(text)))


def without_tags(text: str) -> str:
    """Escape the start of every HTML tag in a paragraph of Markdown."""
    return _TAG.sub("&lt;", text)
