"""The page in a real Chromium: nothing fetched, nothing run, nothing wider than the screen, readable by all."""

import shutil

import pytest

from lpft_keras import write_page
from tests.page.conftest import LABELS

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(hostile, tmp_path_factory):
    return write_page(hostile[2], tmp_path_factory.mktemp("page") / "page.html").path


@pytest.fixture
def opened(browser, page_file):
    """Returns a function that opens the page, and ends with what the browser complained of: nothing."""
    complaints, pages = [], []

    def open_page(width=1440, scheme="light", **options):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
        page.goto(page_file.as_uri())
        pages.append(page)
        return page

    yield open_page
    assert complaints == []
    for page in pages:
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_the_screen_and_axe_finds_nothing(opened, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page = opened(width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
    found = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
    nodes = [(one["id"], node["html"][:200]) for one in found.response["violations"] for node in one["nodes"]]
    assert nodes == []
    assert len(found.response["passes"]) > 20, "axe looked at the page"


def test_markup_in_data_is_text(opened):
    page = opened()
    page.wait_for_timeout(200)
    counts = {name: page.evaluate(f"document.querySelectorAll('{name}').length") for name in ("script", "img", "b")}
    assert counts == {"script": 0, "img": 0, "b": 0}
    text = page.evaluate("document.body.textContent")
    for label in (*LABELS, "<script>alert(3)</script>", "</title></style></svg><script>alert(4)</script>"):
        assert label in text
    assert page.evaluate("getComputedStyle(document.querySelector('.summary')).borderTopStyle") == "solid"


def test_an_injected_script_or_picture_is_blocked(browser, page_file, tmp_path):
    """The policy is the second wall: markup that got through would neither run nor fetch."""
    page = browser.new_page()
    seen = []
    page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
    page.on("console", lambda message: seen.append(message.text))
    broken = page_file.read_text("utf-8").replace(
        "</main>", '<script>alert(1)</script><img src="http://127.0.0.1:9/x.png" onerror="alert(2)"></main>'
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    page.goto((tmp_path / "broken.html").as_uri())
    page.wait_for_timeout(200)
    assert "dialog" not in seen
    assert sum("Content Security Policy" in message for message in seen) >= 2
    page.close()


def test_it_works_without_javascript_and_prints_whole(opened, tmp_path):
    page = opened(java_script_enabled=False)
    page.locator("summary").first.click()
    assert page.locator("details").first.get_attribute("open") is not None
    page.close()
    page = opened()
    page.emulate_media(media="print")
    hidden = page.locator("details > :not(summary)").last
    assert hidden.bounding_box()["height"] > 0, "what is folded on the screen is printed"
    assert page.pdf(path=tmp_path / "page.pdf").startswith(b"%PDF")
    assert (tmp_path / "page.pdf").stat().st_size > 20_000
