"""The page in a real browser: clicked, sorted, filtered, on a phone, in the dark, printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compress.report.html import html
from tests.report.browser import Browser, browser, chromium
from tests.report.made_up_full import full_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")]
ROWS = "[...document.querySelectorAll('#table-models tbody tr:not([hidden]) th')]"
NAMES = f"{ROWS}.map((head) => head.firstChild.textContent)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the report in which everything was measured."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(html(full_report(folder / "run")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def tab(chrome: Browser, page: Path) -> Browser:
    """The page, freshly opened on a desk."""
    chrome.screen(1280)
    chrome.open(page)
    return chrome


def header(title: str) -> str:
    """A script that gives the button of the header with this title the id `wanted`."""
    every = "[...document.querySelectorAll('#table-models thead button')]"
    return f"{every}.find((button) => button.textContent === '{title}').id = 'wanted'"


def test_nothing_is_fetched_and_nothing_complains(tab: Browser, page: Path) -> None:
    """A request to anywhere tells who reads the report; a console error means that some of it does not work."""
    assert tab.requests == [page.resolve().as_uri()]
    assert tab.complaints == []


def test_a_click_sorts_by_number(tab: Browser) -> None:
    """Sorted as text 11.00 ms would stand before 2.61 ms; unsorted, the table is only a picture of one."""
    before = tab.run(NAMES)
    tab.run(header("p50"))
    tab.click("#wanted")
    assert (
        tab.run(NAMES) == ["int8", "tiny", "student-bf16", "student", "student-sparse", "teacher", "broken"] != before
    )
    assert tab.run("document.querySelector('#wanted').parentElement.getAttribute('aria-sort')") == "ascending"
    tab.click("#wanted")
    assert tab.run(NAMES)[0] == "teacher" and tab.run(NAMES)[-1] == "broken", "blanks stay at the end"
    assert tab.run("document.querySelectorAll('#table-models [aria-sort]').length") == 1


def test_the_keyboard_sorts_too(tab: Browser) -> None:
    """A header that only a mouse can reach is none for many readers; focus that cannot be seen is lost."""
    tab.run(header("size"))
    tab.run("document.querySelector('#filter-models').focus()")
    for _ in range(40):
        tab.key("Tab")
        if tab.run("document.activeElement.id") == "wanted":
            break
    assert tab.run("document.activeElement.id") == "wanted"
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.key("Enter")
    assert tab.run(NAMES)[0] == "int8"


def test_the_filter_keeps_and_drops(tab: Browser) -> None:
    """A filter that hides the wrong rows, or cannot be undone, is worse than none."""
    tab.click("#filter-models")
    tab.type("student -sparse")
    assert tab.run(NAMES) == ["student", "student-bf16"]
    assert tab.run("document.querySelector('.tools output').textContent") == "2 of 7 rows"
    tab.key("Escape")
    assert len(tab.run(NAMES)) == 7
    tab.type("cannot tell")
    assert tab.run(NAMES) == ["student-sparse"]


def test_folded_tables_open_and_sort(tab: Browser) -> None:
    """Every table has the same headers; those that are folded away must work as well."""
    tab.click("#speed details summary")
    tab.click("#table-speed-2 thead th:nth-child(4) button")
    values = tab.run("[...document.querySelectorAll('#table-speed-2 tbody tr')].map((r) => r.cells[3].dataset.order)")
    known = [float(value) for value in values if value is not None]
    assert known == sorted(known) and len(known) > 20


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_does_not_scroll_sideways(tab: Browser, width: int) -> None:
    """On a phone a page that is wider than the screen hides half of every sentence."""
    tab.screen(width, 844, phone=width < 500)
    wide, narrow = (f"getComputedStyle(document.querySelector('svg.{kind}')).display" for kind in ("wide", "narrow"))
    tab.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert (tab.run(wide) == "none", tab.run(narrow) == "none") == ((True, False) if width < 640 else (False, True))


def luminance(rgb: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2 has it."""
    parts = [int(part) / 255 for part in rgb[rgb.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(tab: Browser, scheme: str) -> None:
    """Grey on grey: WCAG asks for a contrast of 4.5 between a text and its ground."""
    tab.screen(1280, prefers_color_scheme=scheme)
    ground = luminance(tab.run("getComputedStyle(document.body).backgroundColor"))
    assert (ground < 0.1) == (scheme == "dark")
    for selector in ("h1", "small", ".hint", ".mark.faster", ".gate a", "nav a", "figcaption", "svg.wide text"):
        style = "fill" if selector.startswith("svg") else "color"
        ink = luminance(tab.run(f"getComputedStyle(document.querySelector('{selector}')).{style}"))
        high, low = max(ink, ground), min(ink, ground)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{selector} in {scheme}"


def test_print_fits_the_paper(tab: Browser) -> None:
    """A table that is cut off at the edge of the paper loses its last columns; buttons are of no use there."""
    tab.screen(794, 1123, media="print")
    assert tab.run("document.documentElement.scrollWidth") <= 794
    shown: Any = tab.run("['.tools', 'nav'].map((s) => getComputedStyle(document.querySelector(s)).display)")
    assert shown == ["none", "none"]
    assert tab.pdf().startswith(b"%PDF")


def test_pictures_say_their_numbers_under_the_pointer(tab: Browser) -> None:
    """A dot without a number has to be read off an axis."""
    mark = 'svg.wide [aria-label^="int8: 90.2 % accuracy"]'
    box = tab.run(f"document.querySelector('{mark}').scrollIntoView({{block: 'center'}}), "
                  f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
                  f"(document.querySelector('{mark}').getBoundingClientRect())")  # fmt: skip
    tab.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert tab.run("document.querySelector('#tip').textContent").startswith("int8: 90.2 % accuracy, 2.61 ms")
