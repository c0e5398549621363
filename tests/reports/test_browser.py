"""The page in a real browser: what is drawn, what follows what, and that it asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adamtune import search
from adamtune.analysis.ranking import rank
from adamtune.reports.page.page import to_html
from adamtune.storage.records import StudyRecord
from adamtune.storage.studies import read_study

from ..test_project import ROOT
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

    def see(self, chart: str) -> Any:
        """A chart, which is drawn when it comes into view."""
        self.page.locator(f"#{chart}").scroll_into_view_if_needed()
        self.page.wait_for_selector(f"#{chart} canvas")
        self.page.wait_for_selector("html[data-drawn=yes]")
        return self.page.locator(f"#{chart} canvas")

    def numbers(self) -> list[int]:
        """The trials of the table, in its order."""
        found: list[int] = self.page.eval_on_selector_all(
            "td button", "all => all.map(each => +each.textContent)"
        )
        return found

    def painted(self, chart: str) -> int:
        """How many colours a chart has."""
        self.see(chart)
        script = """all => all.map(canvas => {
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return new Set(new Uint32Array(data.buffer)).size;
        })[0]"""
        count: int = self.page.eval_on_selector_all(f"#{chart} canvas", script)
        return count


def check_charts(opened: Opened) -> None:
    """Checks that every chart shows something, and says what."""
    charts = opened.page.eval_on_selector_all(".chart", "all => all.map(each => each.id)")
    for chart in charts:
        assert opened.painted(chart) > 10, chart
        assert opened.page.get_attribute(f"#{chart}", "aria-label"), chart
    assert opened.said == []


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_drawn_without_a_complaint(browser: Any, tmp_path: Path, name: str) -> None:
    check_charts(Opened(browser, tmp_path, STUDIES[name]))


@pytest.mark.parametrize(("name", "trials"), [("finished", 12), ("in-training", 4)])
def test_a_study_of_0_1_0_is_drawn(browser: Any, tmp_path: Path, name: str, trials: int) -> None:
    for path in (ROOT / "tests" / "fixtures" / "v0.1.0").glob("v0.1.0.db*"):
        shutil.copy(path, tmp_path)
    opened = Opened(browser, tmp_path, read_study(str(tmp_path / "v0.1.0.db"), name))
    check_charts(opened)
    assert len(opened.numbers()) == trials


def test_a_study_of_an_own_model_is_drawn(browser: Any, tmp_path: Path) -> None:
    found = search(
        ROOT / "examples" / "churn.yaml",
        storage=tmp_path / "own.db",
        trials=12,
        confirm="off",
        progress=False,
    )
    opened = Opened(browser, tmp_path, found.ranking.study)
    check_charts(opened)
    assert opened.page.locator("#section-slices .chart").count() == 2  # lr and dropout


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
    curves = opened.see("curves")
    before = curves.screenshot()
    picture = opened.see("slice-s1")  # lr
    box = picture.bounding_box()
    area(page, picture)
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


def area(page: Any, picture: Any) -> None:
    """Draws an area over the middle of a picture with the mouse."""
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.85, steps=5)
    page.mouse.up()


def test_a_number_of_the_table_shows_its_trial(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many())
    opened.page.click("td button:text-is('7')")
    opened.page.wait_for_selector("#choice:visible")
    assert opened.numbers() == [7]
    opened.page.click("#choice button")
    opened.page.wait_for_selector("#choice", state="hidden")
    assert len(opened.numbers()) == 40


def test_charts_are_drawn_when_they_come_into_view(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many(), width=380)
    charts = opened.page.locator(".chart").count()
    drawn = opened.page.locator(".chart canvas").count()
    assert 0 < drawn < charts
    assert opened.page.get_attribute("#parallel", "aria-label").startswith("All settings at once.")
    height = opened.page.evaluate("document.documentElement.scrollHeight")
    for chart in opened.page.eval_on_selector_all(".chart", "all => all.map(each => each.id)"):
        opened.see(chart)
    assert opened.page.locator(".chart canvas").count() == charts
    assert opened.page.evaluate("document.documentElement.scrollHeight") == height


def test_a_chart_that_is_drawn_later_shows_what_was_chosen(browser: Any, tmp_path: Path) -> None:
    opened, other = (Opened(browser, tmp_path, many(), width=380) for _ in range(2))
    opened.see("curves")
    other.page.click("td button:text-is('7')")  # below all charts: most are not drawn
    opened.page.click("td button:text-is('7')")
    assert other.see("parallel").screenshot() == opened.see("parallel").screenshot()
    other.page.keyboard.press("Escape")
    assert other.see("parallel").screenshot() != opened.see("parallel").screenshot()


def test_print_has_all_charts_in_the_colours_of_paper(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, many(), width=380, color_scheme="dark")
    opened.page.evaluate("""() => {
        window.seen = [];
        new MutationObserver(() => {
            const drawn = document.querySelectorAll(".chart canvas").length;
            seen.push([document.documentElement.dataset.theme, drawn]);
        }).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    }""")
    opened.page.pdf()
    charts = opened.page.locator(".chart").count()
    before, after = opened.page.evaluate("window.seen")
    assert before[0] == "light"
    assert after == ["dark", charts]
    assert opened.said == []


def pointed(page: Any, picture: Any) -> dict[str, str]:
    """What a chart says of the first trial that the mouse finds."""
    box = picture.bounding_box()
    for place in range(1000):
        x, y = (0.5 + 0.05 * (place // 50)) % 1, 0.02 * (place % 50)
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        if page.locator(".vg-tooltip.visible").count():
            cells = page.locator(".vg-tooltip td").all_text_contents()
            return dict(zip(cells[::2], cells[1::2], strict=True))
    raise AssertionError("no trial was found")


def test_a_trial_says_its_settings_when_it_is_pointed_at(browser: Any, tmp_path: Path) -> None:
    opened, record = Opened(browser, tmp_path, many()), many()
    for chart in ("slice-s1", "slice-s2"):
        lines = pointed(opened.page, opened.see(chart))
        trial = next(each for each in record.trials if str(each.number) == lines["trial"])
        assert lines["state"] in (trial.state, "best"), chart
        assert float(lines["lr"]) == pytest.approx(trial.settings["lr"], rel=1e-3), chart
        assert lines["beta2"] == "0.99873", chart
    assert {"trial", "state"} < set(pointed(opened.page, opened.see("curves")))


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
    assert pointed(opened.page, opened.see("slice-s1"))[EVIL] == EVIL
    assert opened.page.locator("img").count() == 0
    assert opened.said == []
