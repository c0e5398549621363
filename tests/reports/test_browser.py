"""The page in a real browser: what is drawn, what follows what, and that it asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adamtune.analysis.ranking import rank
from adamtune.reports.page.page import to_html
from adamtune.storage.records import StudyRecord

from .records import study
from .test_page import EVIL, STUDIES, many

CHROMIUM = shutil.which("chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no /usr/bin/chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Without its sandbox, because it also runs in containers as root.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Opened:
    """A page that was drawn, and what it said and asked for on the way."""

    def __init__(
        self, browser: Any, folder: Path, record: StudyRecord, width: int = 1000, **options: Any
    ) -> None:
        file = folder / "page.html"
        file.write_text(to_html(rank(record)), encoding="utf-8")
        options = {"permissions": ["clipboard-read", "clipboard-write"], **options}
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-drawn=yes]")
        assert self.said == []
        assert self.asked == [file.as_uri()]

    def numbers(self) -> list[int]:
        """The trials of the table, in its order."""
        found: list[int] = self.page.eval_on_selector_all(
            "td button", "all => all.map(each => +each.textContent)"
        )
        return found

    def painted(self, chart: str) -> int:
        """How many colours a chart has."""
        script = """all => all.map(canvas => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return new Set(new Uint32Array(data.buffer)).size;
        })[0]"""
        count: int = self.page.eval_on_selector_all(f"#{chart} canvas", script)
        return count


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_drawn_without_a_complaint(browser: Any, tmp_path: Path, name: str) -> None:
    opened = Opened(browser, tmp_path, STUDIES[name])
    charts = opened.page.eval_on_selector_all(".chart", "all => all.map(each => each.id)")
    for chart in charts:
        assert opened.painted(chart) > 10, chart
        assert opened.page.get_attribute(f"#{chart}", "aria-label"), chart


@pytest.mark.parametrize("width", [380, 1000, 2000])
def test_it_fits_the_window(browser: Any, tmp_path: Path, width: int) -> None:
    page = Opened(browser, tmp_path, many(), width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_columns_are_sorted(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many())
    ranked = opened.numbers()
    assert ranked[0] == rank(many()).rows[0].trial.number
    opened.page.click("th button:text-is('lr')")
    assert opened.numbers() == sorted(ranked)
    opened.page.click("th button:text-is('lr')")
    assert opened.numbers() == sorted(ranked, reverse=True)
    assert opened.page.get_attribute("th:has(button:text-is('lr'))", "aria-sort") == "descending"
    opened.page.focus("th button:text-is('trial')")
    opened.page.keyboard.press("Enter")
    assert opened.numbers() == sorted(ranked)


def test_an_area_of_a_chart_chooses_trials_everywhere(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many())
    page = opened.page
    curves = page.locator("#curves")
    before = curves.screenshot()
    picture = page.locator("#slice-s1 canvas")  # lr
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.85, steps=5)
    page.mouse.up()
    page.wait_for_selector("#choice:visible")
    page.wait_for_timeout(300)  # the last move of the mouse is drawn after it
    assert picture.bounding_box() == box  # nothing moves under the mouse
    chosen = opened.numbers()
    assert 0 < len(chosen) < 40
    assert max(chosen) - min(chosen) < 30  # lr grows with the number
    assert f"{len(chosen)} of 40 trials" in page.inner_text("#choice")
    page.wait_for_timeout(300)
    assert curves.screenshot() != before
    page.keyboard.press("Escape")
    page.wait_for_selector("#choice", state="hidden")
    assert len(opened.numbers()) == 40
    assert opened.said == []


def test_a_number_of_the_table_shows_its_trial(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many())
    opened.page.click("td button:text-is('7')")
    opened.page.wait_for_selector("#choice:visible")
    assert opened.numbers() == [7]
    opened.page.click("#choice button")
    opened.page.wait_for_selector("#choice", state="hidden")
    assert len(opened.numbers()) == 40


def test_the_code_is_copied(browser: Any, tmp_path: Path) -> None:
    page = Opened(browser, tmp_path, many()).page
    page.click("#copy")
    page.wait_for_selector("#copy:text-is('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.inner_text("#code code")
    assert copied.startswith("import torch\n")


def test_dark_and_light(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many(), color_scheme="dark")
    page = opened.page

    def back() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert back() == "rgb(17, 21, 26)"
    page.click("#theme")
    assert back() == "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert not page.is_visible("#theme")
    assert opened.said == []


def test_the_names_of_a_study_are_text(browser: Any, tmp_path: Path) -> None:
    trials = [replace(each, settings={**each.settings, EVIL: EVIL}) for each in many().trials]
    searched = [replace(each, params={**each.params, EVIL: EVIL, "a.b[0]": "x"}) for each in trials]
    opened = Opened(browser, tmp_path, replace(study(*searched), name=EVIL, metric=EVIL))
    assert opened.page.inner_text("h1") == EVIL
    assert opened.page.locator("img").count() == 0
    box = opened.page.locator("#slice-s1 canvas").bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert opened.said == []
