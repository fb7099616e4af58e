"""Take docs/mlflow.png, and list its charts in docs/mlflow.json, by which a test knows when it is out of date.

ecgmtl train --config quick --out runs/first
ecgmtl train --config quick --set stages.1.weighting.kind=dwa --out runs/second
ecgmtl ui                                     # prints the addresses of the curves and of the table of runs
pip install playwright && python docs/make/mlflow_picture.py ADDRESS_OF_THE_CURVES
"""

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1]
WIDTH, HEIGHT = 1400, 1000
WAIT = 9_000
"""Milliseconds until all charts are there."""


def take(address: str, browser: str = "/usr/bin/chromium") -> None:
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": WIDTH, "height": HEIGHT}
        )
        page.goto(address)
        page.wait_for_timeout(WAIT)
        page.get_by_text("Model training").first.click()
        for button in page.get_by_label("Close").all():  # MLflow's assistant
            button.click()
        page.goto(address)
        page.wait_for_timeout(WAIT)
        page.screenshot(path=DOCS / "mlflow.png")
        shown = sorted(set(page.locator("text=/^(train|validation)[a-z ]*\\/[a-z_.]+$/").all_inner_texts()))
    (DOCS / "mlflow.json").write_text(json.dumps({"charts": shown}, indent=1) + "\n")


if __name__ == "__main__":
    take(sys.argv[1])
