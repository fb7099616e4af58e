"""Take docs/report.png: the card of the first record of a report.

ecgmtl predict MODEL records500/00000/00722_hr.hea --report report.html    # of PTB-XL
python docs/make/report_picture.py report.html
"""

import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "report.png"


def take(report: Path, browser: str = "/usr/bin/chromium") -> None:
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(
            viewport={"width": 1200, "height": 1000}, color_scheme="light"
        )
        page.goto(report.resolve().as_uri())
        card = page.locator("article.card").first
        card.get_by_label("Reconstruction").check()
        card.screenshot(path=PICTURE)
    Image.open(PICTURE).quantize(64).save(PICTURE, optimize=True)  # a third of the size


if __name__ == "__main__":
    take(Path(sys.argv[1]))
