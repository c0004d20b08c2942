"""Reports in a real browser: no error, no request, images that are seen and open on a click."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import LOCAL
from millrace.engine.convert import convert
from millrace.engine.planning.recipe import Recipe
from millrace.engine.report import report_conversion, write_report
from support.chromium import Page, find_chromium, open_page
from support.faulty_datasets import DATASETS
from support.hostile_names import write_hostile
from support.synthetic import write_dataset

CHROMIUM = find_chromium()
VIEWS = [(1440, "light"), (390, "dark")]
SHARED = sorted(path for path in DATASETS.glob("*") if path.is_dir())
IS_SEEN = "i.complete && i.naturalWidth > 0 && i.getBoundingClientRect().width > 8"
CAPTION = "document.querySelector('#viewer p').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a browser; install Debian's package chromium")
    with open_page(CHROMIUM, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def check_view(browser: Page, page: Path, width: int, scheme: str) -> None:
    """Open a page, look at it, and click its first image."""
    browser.open(page, width=width, scheme=scheme)
    assert browser.run(f"Array.from(document.images).every(i => {IS_SEEN})")
    assert browser.run("document.documentElement.scrollWidth") <= width
    back = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) > 384) is (scheme == "light")
    if browser.run("document.querySelectorAll('.strip .shot').length"):
        check_viewer(browser)
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []


def check_viewer(browser: Page) -> None:
    """Open an image, go on by the arrow key, and close it."""
    browser.click(".strip .shot")
    assert browser.run("document.getElementById('viewer').open")
    alts = "Array.from(document.querySelector('.strip .shot').querySelectorAll('img')).map(i => i.alt).join('  →  ')"
    first = browser.run(CAPTION)
    assert first == browser.run(alts)
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    assert browser.run(CAPTION) != first
    browser.click("#viewer .close")
    assert not browser.run("document.getElementById('viewer').open")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_a_browser_runs_nothing_that_a_dataset_says(browser: Page, tmp_path: Path, width: int, scheme: str) -> None:
    write_report(write_hostile(tmp_path / "data"), tmp_path / "report.html")
    check_view(browser, tmp_path / "report.html", width, scheme)
    assert browser.run("document.title") == "data · Millrace report"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a conversion."""
    folder = tmp_path_factory.mktemp("converted")
    write_dataset(folder / "data", lengths=(60,), cameras=("top",))
    recipe = Recipe.single(folder / "data", map="aloha_to_gr1_rescaled", image_size=64)
    convert(recipe, folder / "out", workers=LOCAL, on_finish=report_conversion)
    return folder / "out/report.html"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_a_browser_shows_a_conversion_before_and_after(browser: Page, converted: Path, width: int, scheme: str) -> None:
    check_view(browser, converted, width, scheme)
    assert browser.run("document.querySelectorAll('svg.map path').length") > 10
    assert browser.run("document.querySelectorAll('path.before').length") > 10
    above, below = browser.run(
        "Array.from(document.querySelector('.strip .shot').children).map(i => i.getBoundingClientRect().bottom)"
    )
    assert above < below
    browser.click(".strip .shot")
    assert browser.run("document.querySelectorAll('#viewer img').length") == 2


@pytest.mark.parametrize("dataset", SHARED, ids=lambda path: path.name)
def test_a_browser_shows_real_datasets(browser: Page, tmp_path: Path, dataset: Path) -> None:
    page = tmp_path / "report.html"
    write_report(dataset, page, max_episodes=2)
    for width, scheme in VIEWS:
        check_view(browser, page, width, scheme)
    assert browser.run("document.querySelectorAll('.strip .shot').length") >= 5
