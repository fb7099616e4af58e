"""The page of the service: that of a report, with a place to drop files and no records yet."""

from functools import cache
from importlib.resources import files
from typing import Any

from ecgmtl.report_page.page import asset, content_policy, data_block, script
from ecgmtl.serve.uploads import Limits


def live_page(facts: dict[str, Any], limits: Limits) -> str:
    """Return the page as HTML. `facts` describe the model."""
    parts = {
        "{{policy}}": policy(),
        "{{title}}": "ECG report, live",
        "{{style}}": style(),
        "{{data}}": data_block("facts", facts) + data_block("limits", limits._asdict()),
        "{{script}}": live_script(),
    }
    page = asset("page.html")
    for mark, text in parts.items():
        before, _, after = page.partition(mark)
        page = before + text + after
    return page


@cache
def policy() -> str:
    """Return the content security policy: the page's own code and style run, and it speaks to this service alone."""
    return content_policy(live_script(), style(), "connect-src 'self'; ")


def live_script() -> str:
    """Return the code of the report, followed by that of the live page."""
    return f"{script()}\n{own_asset('live.js')}"


def style() -> str:
    """Return the style of the report, followed by that of the live page."""
    return asset("page.css") + own_asset("live.css")


def own_asset(name: str) -> str:
    """Return a file of this package."""
    return files("ecgmtl.serve").joinpath(name).read_text(encoding="utf-8")
