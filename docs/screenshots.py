"""Makes the pictures of docs/images: pages in Chromium, and a report on a terminal.

Run: python docs/screenshots.py, with Chromium installed; about two minutes, most of it the searches.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console

from adamtune import search
from adamtune.analysis.ranking import Ranking
from adamtune.reports.as_code import recommended_code
from adamtune.reports.console import show_best, show_ranking, show_scatter, show_verdict
from adamtune.reports.page.page import to_html

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
WIDE: dict[str, Any] = {
    "name": "wide",
    "task": {"name": "mlp"},
    "optimizer": ["adamw", "sgd"],
    "space": {
        "lr": {"low": 1e-5, "high": 10.0, "log": True},
        "one_minus_beta1": {"low": 0.01, "high": 0.5, "log": True},
        "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
        "schedule": ["constant", "cosine", "linear"],
    },
    "search": {"trials": 1000, "sampler": "random", "pruner": "median", "confirm": "off"},
}
"""A thousand trials, of which many are pruned or diverge."""

STUDIES = {
    "quickstart": (str(ROOT / "configs" / "quickstart.yaml"), "light", 1000, 1500),
    "wide": (WIDE, "dark", 1400, 1600),
    "own-model": (str(ROOT / "examples" / "churn.yaml"), "light", 380, 1900),
}
"""The study, the theme, the width of the window, and the height of the picture, in pixels."""


def main() -> None:
    """Runs the searches and takes the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (config, theme, width, height) in STUDIES.items():
            storage = str(Path(folder) / "studies.db")
            study = search(config, storage=storage)
            file = Path(folder) / f"{name}.html"
            file.write_text(to_html(study.ranking), encoding="utf-8")
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-drawn=yes]")
            page.screenshot(path=IMAGES / f"{name}.png")
            shrink(IMAGES / f"{name}.png")
            if name == "quickstart":
                terminal(study.ranking)


def terminal(ranking: Ranking) -> None:
    """Draws the report of a study as a terminal shows it, without the commands to go on with."""
    out = Console(record=True, width=80, file=io.StringIO(), markup=False, highlight=False)
    show_ranking(out, ranking, 10)
    show_verdict(out, ranking)
    show_best(out, ranking, recommended_code(ranking))
    show_scatter(out, ranking)
    out.save_svg(str(IMAGES / "terminal.svg"), title=f"adamtune report {ranking.study.name}")


def shrink(file: Path) -> None:
    """Writes a picture with 192 colours, which hardly shows."""
    Image.open(file).convert("RGB").quantize(192).save(file, optimize=True)


if __name__ == "__main__":
    main()
