"""The page in a real browser: what is shown, sorted, filtered and opened, by keyboard alone, without a network."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.leads import STANDARD_LEADS
from data_prep.quality import Finding
from data_prep.readers import OtherFile, read_record
from data_prep.readers.other_files import OtherFileKind
from ecgmtl import checkpoint
from ecgmtl.inference.predict import predict
from ecgmtl.inference.predictor import load_predictor
from ecgmtl.inference.result import Failure
from ecgmtl.metrics.calibration import Calibration
from ecgmtl.report_page import page as report_page
from ecgmtl.report_page.page import Detail, ReportError, data_block, open_report
from tests.models import untrained

SIZES = {"wide": (1400, 1000), "narrow": (390, 844)}
ODD = "<img src=x onerror=document.title='run'>.csv"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    steep = Calibration(slope=(60.0,) * 5, intercept=(0.0,) * 5, thresholds=(0.4,) * 5)  # else no part matters
    checkpoint.save(path, replace(untrained(), calibration=steep))
    return load_predictor(path)


@pytest.fixture(scope="module")
def report(predictor, records, tmp_path_factory):
    """A page of thirty records, of which one has an odd name, one failed file and two other files."""
    folder = tmp_path_factory.mktemp("page")
    record = read_record(records / "r0.hea")
    leads = ",".join(f"{lead} (mV)" for lead in record.leads)
    np.savetxt(folder / ODD, record.signal, "%.3f", ",", header=f"# fs=100\n{leads}", comments="")
    results = [*predict(predictor, [records, folder], keep_signals=True)]
    path = folder / "report.html"
    with open_report(path, predictor, "runs/mine", n_detailed=3) as add:
        for index in range(24):
            add(results[index % 6])
        add(results[-1])
        add(Failure(Path("damaged/</script><b>bad.hea"), "bad.hea is cut short & <i>empty</i>."))
        add(Failure(Path("empty.csv"), "empty.csv is empty."))
        add(OtherFile(Path("notes/<b>readme.md"), OtherFileKind.OTHER))
        add(OtherFile(Path("scan.xml"), OtherFileKind.NO_READER))
    return path


@pytest.fixture
def show(browser, report):
    """A function that opens the page. At the end, nothing was logged and nothing was requested but the page."""
    opened, seen = [], []

    def open_page(size="wide", **options):
        width, height = SIZES[size]
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("svg.paper")
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert seen == [report.as_uri()] * len(opened)


def names(page):
    return page.locator("#table tbody th").all_inner_texts()


def test_every_file_is_accounted_for(show):
    page = show()
    assert page.inner_text("#counts") == "25 records predicted, 2 failed, 2 other files."
    page.select_option("#show", "failed")
    assert len(names(page)) == 2
    page.locator("#cards").get_by_text("bad.hea is cut short & <i>empty</i>.").wait_for()
    page.locator("#others summary").press("Enter")
    page.locator("#others li").first.wait_for()
    assert page.locator("#others li").all_inner_texts() == [
        "notes/<b>readme.md (other files)",
        "scan.xml (without a reader)",
    ]


def test_no_text_of_a_file_is_read_as_html(show):
    page = show()
    page.get_by_role("searchbox").fill("bad.hea")
    assert names(page) == ["script><b>bad.hea"]
    page.get_by_role("searchbox").fill("onerror")
    assert names(page) == [ODD]
    page.get_by_role("img", name="12-lead ECG of <img").wait_for()
    assert page.locator("#cards img, #cards b b, #table img, #table b").count() == 0
    assert page.title() == "ECG report: runs/mine"


def test_cards_show_the_ecg_its_probabilities_and_its_explanation(show):
    page = show()
    card = page.locator("article.card").first
    ecg = card.locator("svg.paper")
    assert ecg.locator("text.lead").all_text_contents() == [
        *("I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II")
    ]
    assert "12-lead ECG of r0.hea, 10.0 seconds" in ecg.get_attribute("aria-label")
    assert ecg.get_attribute("width") == "262.00mm"
    assert ecg.locator("rect.for, rect.against").count() > 0
    assert card.locator(".probabilities tbody tr").count() == 5
    assert "Without 0.4 s of signal around" in card.locator(".explanation").inner_text()
    card.get_by_label("Reconstruction").check()
    assert ecg.locator("path.reconstruction").count() == 13


def test_traces_are_true_to_scale(show, records):
    record = read_record(records / "r0.hea")
    page = show()
    path = page.locator("article.card svg.paper path.trace[d*='L']").nth(0).get_attribute("d")
    points = np.array([[float(x), float(y)] for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)])
    lead = record.signal[: len(points), STANDARD_LEADS.index("I")]
    np.testing.assert_allclose(np.diff(points[:, 0]), 0.25, atol=0.011)  # 25 mm/s at 100 Hz
    height = -(points[:, 1] - np.median(points[:, 1]))
    np.testing.assert_allclose(height, 10 * (lead - np.median(lead)), atol=0.12)  # 10 mm/mV, in steps of 0.05 mm


def test_the_table_is_sorted_and_filtered_by_keyboard(show):
    page = show()
    page.keyboard.press("Tab")  # the link that skips the table
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.scroll') !== null")
    page.get_by_role("button", name="MI").press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("MI")
    cells = page.locator("#table tbody tr td:nth-child(5)").all_text_contents()
    shown = [float(text.rstrip(" %")) for text in cells if text]
    assert shown == sorted(shown, reverse=True)
    assert not any(cells[len(shown) :])  # failed files are last
    page.keyboard.press("Enter")  # the focus is still on the heading
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.get_by_role("searchbox").press_sequentially("r3")
    assert set(names(page)) == {"r3.hea"}
    assert page.inner_text("#matches") == "4 of 27 records"


def test_arrow_keys_move_in_the_table_and_enter_opens_the_card(show):
    page = show()
    page.locator("#table tbody a").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "title-2"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "title-3"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.hash") == "#card-3"


def test_more_records_than_one_page_holds_are_on_the_next_ones(show):
    page = show()
    assert len(names(page)) == 25
    page.get_by_role("button", name="Next").press("Enter")
    assert len(names(page)) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_overflows_and_text_is_readable(show, size, scheme):
    page = show(size, color_scheme=scheme)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == SIZES[size][0]
    text, back = (
        page.evaluate(f"getComputedStyle(document.querySelector('.card')).{name}")
        for name in ("color", "backgroundColor")
    )
    bright = [sum(map(int, re.findall(r"\d+", color)[:3])) / 3 for color in (text, back)]
    assert abs(bright[0] - bright[1]) > 150
    assert (bright[1] > 128) == (scheme == "light")


def test_each_card_is_printed_on_its_own_page_in_true_millimeters(show):
    page = show()
    page.emulate_media(media="print")
    box = page.locator("svg.paper").first.bounding_box()
    assert box["width"] / 96 * 25.4 == pytest.approx(262, abs=0.5)
    assert page.locator("article.card .tools").first.is_hidden()
    pages = page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert pages >= 25


def test_the_policy_of_the_page_allows_its_own_code_alone(report):
    text = report.read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"unsafe|https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"\son\w+=", text.partition("<script")[0])
    assert text.count("<script>") == 1


def test_data_cannot_end_their_element():
    block = data_block("card", {"path": "</script><!--"})
    assert block.count("<") == 2
    assert json.loads(block.partition(">")[2].rpartition("<")[0]) == {"path": "</script><!--"}


def test_details_are_for_the_first_records_and_as_many_with_warnings(predictor, records):
    good, other = [*predict(predictor, [records / "r0.hea", records / "r1.hea"])]
    flagged = type(good)(**{**vars(other), "findings": (Finding("noise-lead", "lead V3 noise."),)})
    detail = Detail(1)
    assert [detail.wants(result) for result in (good, other, flagged, flagged)] == [True, False, True, False]


def test_a_page_does_not_grow_without_bound(predictor, records, tmp_path, monkeypatch):
    results = [*predict(predictor, records, keep_signals=True)]
    monkeypatch.setattr(report_page, "MOST_DRAWN", 25_000)
    with open_report(tmp_path / "r.html", predictor, "{{style}}", 0) as add:
        for result in results:
            add(result)
    text = (tmp_path / "r.html").read_text()
    drawn = re.findall(r'id="drawing-\d+">([^<]*)<', text)
    assert 0 < sum(map(len, drawn)) <= 25_000
    assert text.count('"omitted":true') == len(results) - len(drawn)
    assert "<title>ECG report: {{style}}</title>" in text


def test_a_page_that_fails_leaves_no_file(predictor, tmp_path):
    with pytest.raises(ZeroDivisionError), open_report(tmp_path / "r.html", predictor, "m", 1):
        _ = 1 / 0
    assert not [*tmp_path.iterdir()]
    with (
        pytest.raises(ReportError, match=r"should end in \.html; found '\.pdf'"),
        open_report(tmp_path / "r.pdf", predictor, "m", 1),
    ):
        pass
