"""The progress of a search below the cell of a notebook. Imports IPython, which a notebook has."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

from adamtune.reports.live import view
from adamtune.search.progress import Observer, Progress

SECONDS_BETWEEN_UPDATES = 0.5
"""Each update is a message to the browser."""
WIDTH, HEIGHT = 80, 24


@contextmanager
def notebook_view() -> Iterator[Observer]:
    """The observer of a search that shows its progress in one display, which it updates."""
    from IPython.display import display

    handle = display(_bundle(None), raw=True, display_id=True)
    shown, last = -SECONDS_BETWEEN_UPDATES, None

    def draw(progress: Progress) -> None:
        nonlocal shown, last
        last = progress
        if time.monotonic() - shown >= SECONDS_BETWEEN_UPDATES:
            handle.update(_bundle(progress), raw=True)
            shown = time.monotonic()

    try:
        yield draw
    finally:
        handle.update(_bundle(last), raw=True)


def _bundle(progress: Progress | None) -> dict[str, str]:
    """The progress as text, and as HTML for what can show it."""
    lines = view(progress, WIDTH, HEIGHT, unicode=True) if progress else []
    text = "\n".join(line.plain for line in lines)
    style = "line-height: normal; margin: 0"
    return {"text/plain": text, "text/html": f'<pre style="{style}">{escape(text)}</pre>'}
