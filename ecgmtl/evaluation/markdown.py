"""Text of others in a page of Markdown: names of labels, arms, stages and runs."""

import re

from data_prep.safe_text import printable

_MARKS = re.compile(r"[\\|`]|\](?=\()")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def escaped(text: str) -> str:
    """Return `text` such that Markdown shows it as it is: no table cell, link, code or HTML begins or ends in it."""
    return _TAG.sub("&lt;", _MARKS.sub(r"\\\g<0>", printable(text)))


def without_tags(text: str) -> str:
    """Return a paragraph of Markdown in which no HTML begins."""
    return _TAG.sub("&lt;", text)
