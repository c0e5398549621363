"""What it costs to look at a study: a report in each format, and its page in a browser.

    python -m benchmarks.reports runs/adamtune.db

Of the latest study of each storage: seconds of processor time of ``adamtune report``, and of a process that
only imports the packages that the report imports. Of the page: its size, the wall time until Chromium has
painted what can be read, and the processor time of its main thread until the charts in the window are drawn.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command_line import parser
from benchmarks.processes import processor_seconds
from benchmarks.tables import machine, table

FORMATS = ("table", "json", "csv", "markdown", "html")
IMPORTED = """import json, sys
from adamtune.cli.main import run
run(sys.argv[1:])
print(json.dumps([*sys.modules]), file=sys.stderr)
"""
BARE = """import contextlib, gc, importlib, json, sys
for name in json.load(sys.stdin):
    with contextlib.suppress(Exception):
        importlib.import_module(name)
gc.freeze()  # as adamtune does before it ends
"""


def report_row(storage: str, form: str, rounds: int) -> list[object]:
    """The cost of a report in one format."""
    report = ["report", "--storage", storage, "--format", form]
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, *report], capture_output=True, text=True, check=True
    )
    names = json.dumps([each for each in json.loads(ended.stderr) if not each.startswith("adamtune")])
    whole, bare = [], []
    for _ in range(rounds):
        whole.append(processor_seconds("-m", "adamtune", *report))
        bare.append(processor_seconds("-c", BARE, given=names))
    return [storage, form, median(whole), median(bare), median(whole) - median(bare)]


def page_row(storage: str, browser: Any, folder: Path) -> list[object]:
    """The cost of the page in a browser."""
    file = folder / "page.html"
    report = ["report", "--storage", storage, "--output", str(file)]
    subprocess.run([sys.executable, "-m", "adamtune", *report], check=True)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    counters = page.context.new_cdp_session(page)
    counters.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    found = {each["name"]: each["value"] for each in counters.send("Performance.getMetrics")["metrics"]}
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000")
    page.close()
    return [storage, os.path.getsize(file) / 1e6, painted, found["TaskDuration"]]


def main() -> None:
    """Prints both tables."""
    arguments = parser("reports", __doc__)
    arguments.add_argument("storages", nargs="+", metavar="STORAGE", help="a database file or URL")
    arguments.add_argument("--rounds", type=int, default=5, help="5 by default; the median counts")
    given = arguments.parse_args()
    rows = [report_row(each, form, given.rounds) for each in given.storages for form in FORMATS]
    print(
        machine(),
        table(["storage", "format", "report, s", "imports alone, s", "difference, s"], rows),
        sep="\n\n",
    )
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pages = [page_row(each, browser, Path(folder)) for each in given.storages]
    print("", table(["storage", "page, MB", "readable, s", "processor until drawn, s"], pages), sep="\n")


if __name__ == "__main__":
    main()
