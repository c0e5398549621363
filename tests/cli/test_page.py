"""``report --open``, and ``--report`` of searches: the page as a user gets it."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from .processes import PATIENCE, done, searching
from .processes import adamtune as process
from .studies import write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("output", [pytest.param(None, marks=pytest.mark.slow), "a page.html"])
def test_the_browser_opens_what_was_written(storage: Path, folder: Path, output: str | None) -> None:
    browser = folder / "browser"
    browser.write_text('#!/bin/sh\nprintf %s "$1" > opened\n')
    browser.chmod(0o755)
    named = ("--output", output) if output else ()
    report = ("report", "digits-cnn", "--open", *named, "--storage", storage)
    ended = process(*report, BROWSER=f"{browser} %s")
    assert ended == (0, "", "")
    page = folder / (output or "digits-cnn.html")
    assert (folder / "opened").read_text() == page.as_uri()
    assert "<title>digits-cnn: adamtune</title>" in page.read_text()


@pytest.mark.slow
def test_without_a_browser_it_is_said_where_the_page_is(storage: Path, folder: Path) -> None:
    report = ("report", "digits-cnn", "--open", "--storage", storage)
    ended = process(*report, BROWSER="", PATH=str(folder), DISPLAY="", WAYLAND_DISPLAY="")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "No browser could be started. The page is digits-cnn.html.\n"
    assert (folder / "digits-cnn.html").exists()


def trials_of(page: str) -> int:
    """How many trials a page has, which is whole."""
    assert page.endswith("</html>\n")
    found = re.search(r"lowest first; (.*)</p>", page)
    assert found
    return sum(map(int, re.findall(r"\d+", found[1])))


@pytest.mark.slow
def test_the_page_is_written_while_the_search_runs(folder: Path) -> None:
    task = {"epochs": 500}  # so that a page has few trials
    file, page = write(folder / "s.yaml", task=task, search={"trials": 100_000}), folder / "s.html"
    with searching("search", file, "--report", page) as running:
        began = time.monotonic()
        while not page.exists():
            assert time.monotonic() < began + PATIENCE
            time.sleep(0.01)
        live = page.read_text(encoding="utf-8")
        running.send_signal(signal.SIGINT)
        while running.poll() is None:  # read again and again, while it is replaced
            last = page.read_text(encoding="utf-8")
            assert trials_of(last) >= trials_of(live)
        stopped = done(running)
    assert stopped.code == 130
    assert f"Page: {page}" in stopped.err
    assert ("data-live" in live, "data-live" in last) == (True, False)
    assert {each.name for each in folder.iterdir() if "html" in each.name} == {"s.html"}


@pytest.mark.slow
def test_a_resumed_search_writes_its_page_at_the_end(folder: Path) -> None:
    assert process("search", write(folder / "s.yaml", search={"trials": 4})).code == 0
    more = ("resume", "s", "--storage", "studies.db", "--trials", 6, "--report", "s.html")
    ended = process(*more)
    assert ended.code == 0
    assert ended.err.endswith("Page: s.html\n")
    assert trials_of((folder / "s.html").read_text(encoding="utf-8")) == 6
