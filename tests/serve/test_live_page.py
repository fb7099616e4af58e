"""The live page in a real browser: files and folders are dropped, cards appear, and what fails is said by name."""

import shutil

import pytest

from tests.serve.client import running

SIZES = {"wide": (1400, 1000), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("service"), "--max-mb", "1") as url:
        yield url


@pytest.fixture
def show(browser, url):
    """A function that opens the page. At the end, nothing was logged, and nobody but the service was asked."""
    opened, seen, asked = [], [], []

    def open_page(size="wide", **options):
        width, height = SIZES[size]
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert seen == []
    assert all(request.startswith(url) for request in asked)


@pytest.fixture
def folder(records, tmp_path):
    """A folder as somebody may have it: records, one of them joined, notes, hidden files, and a damaged file."""
    for name in ("r0", "r1"):
        (tmp_path / "ward" / name).mkdir(parents=True)
        for suffix in (".hea", ".dat"):
            shutil.copy(records / f"{name}{suffix}", tmp_path / "ward" / name / f"{name}{suffix}")
    for suffix in (".hea", ".dat"):
        for number in (2, 3):
            shutil.copy(records / f"r{number}{suffix}", tmp_path / "ward" / f"r{number}{suffix}")
    (tmp_path / "ward/joined.hea").write_text("joined/2 12 100 2000\nr2 1000\nr3 1000\n")
    (tmp_path / "ward/notes.md").write_text("none")
    (tmp_path / "ward/.hidden.csv").write_text("none")
    (tmp_path / "ward/<b>bad.csv").write_text("I,II\n1,2\n")
    return tmp_path / "ward"


def drop(page, *paths):
    """Let the browser drop these files and folders, as a desktop does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


def titles(page, n):
    """Titles of the cards once there are `n`."""
    page.locator("article.card").nth(n - 1).wait_for()
    page.locator("#progress-bar").wait_for(state="hidden")
    return page.locator("article.card h3").all_inner_texts()


def test_a_folder_that_is_dropped_becomes_cards(show, folder):
    page = show()
    drop(page, folder)
    assert sorted(titles(page, 4)) == ["<b>bad.csv", "joined.hea", "r0.hea", "r1.hea"]
    page.locator("svg.paper").nth(2).wait_for()
    assert page.inner_text("#counts") == "3 records predicted, 1 failed, 1 other file."
    assert "<b>bad.csv" in page.locator("article.failed .findings").inner_text()
    page.locator("#others summary").click()
    assert page.locator("#others li").all_inner_texts() == ["ward/notes.md (other files)"]
    assert page.locator("#cards b b, #table b").count() == 0


def test_chosen_files_come_first_and_what_was_chosen_in_a_card_stays(show, records):
    page = show()
    files = {name: [str(records / f"{name}{suffix}") for suffix in (".hea", ".dat")] for name in ("r0", "r1", "r2")}
    page.set_input_files("#choose-files", files["r0"])
    page.locator("svg.paper").wait_for()
    page.get_by_label("Layout").select_option("12x1")
    page.set_input_files("#choose-files", files["r1"] + files["r2"])
    assert sorted(titles(page, 3)[:2]) == ["r1.hea", "r2.hea"]
    assert titles(page, 3)[2] == "r0.hea"
    assert page.locator("article.card").nth(2).get_by_label("Layout").input_value() == "12x1"
    page.get_by_role("button", name="Clear the page").click()
    assert page.inner_text("#counts") == "No record yet."
    assert page.locator("article.card").count() == 0
    page.set_input_files("#choose-files", files["r1"])
    assert titles(page, 1) == ["r1.hea"]


def test_a_folder_can_be_chosen(show, folder):
    page = show("narrow")
    page.set_input_files("#choose-folder", folder)
    assert len(titles(page, 4)) == 4


def test_what_cannot_be_sent_is_a_card_that_says_why(show, tmp_path, records):
    page = show()
    (tmp_path / "large.csv").write_bytes(b"0" * 1_000_001)
    (tmp_path / "alone.dat").write_bytes(b"0" * 100)
    drop(page, tmp_path / "large.csv", tmp_path / "alone.dat")
    titles(page, 2)
    said = page.locator("article.failed .findings").all_inner_texts()
    assert any("large.csv has 1.0 MB, but a file may have at most 1.0 MB here." in text for text in said)
    assert any("needs" in text and ".hea" in text for text in said)


def test_a_service_that_is_gone_fails_the_file_and_not_the_page(browser, url, records):
    page = browser.new_page()
    page.goto(url)
    page.route("**/api/cards*", lambda route: route.abort())
    drop(page, records / "r0.hea", records / "r0.dat")
    assert titles(page, 1) == ["r0.hea"]
    assert "Is ecgmtl serve still running?" in page.locator("article.failed .findings").inner_text()
    page.unroute("**/api/cards*")
    drop(page, records / "r1.hea", records / "r1.dat")
    page.locator("svg.paper").wait_for()
    page.close()


def test_facts_that_a_file_lacks_are_sent_with_it(show, tmp_path, records):
    page = show()
    from data_prep.readers import read_record

    record = read_record(records / "r0.hea")
    rows = [",".join(f"{value:.3f}" for value in row) for row in record.signal.tolist()]
    (tmp_path / "bare.csv").write_text("\n".join([",".join(f"{lead} (mV)" for lead in record.leads), *rows]))
    page.locator("#drop summary").click()
    page.get_by_label("Sampling rate in Hz").fill("100")
    drop(page, tmp_path / "bare.csv")
    assert titles(page, 1) == ["bare.csv"]
    assert "10 s · 100 Hz" in page.locator("article.card .facts").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_overflows(show, size, scheme):
    page = show(size, color_scheme=scheme)
    page.locator("#drop summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]
