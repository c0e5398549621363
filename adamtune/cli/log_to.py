"""``--log-to``: what a search says of the processes that export its trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from adamtune.exports.live import LiveExport
    from adamtune.search.progress import Observer

INTERRUPTED_SECONDS = 10.0
"""How long a search that was interrupted, or has failed, waits until what is left is written."""


@contextmanager
def log_to(names: Sequence[str], storage: str, study: str) -> Iterator[Callable[[Observer], Observer]]:
    """Exports a study while the block runs, and at its end waits until everything is written.

    Yields what makes an observer of the search one that also gets the failures of the exports.

    Args:
        names: the places, as the user named them.
        storage: the storage of the study, which may not be there yet.
        study: the name of the study.

    Raises:
        UsageError, Refused: a place is wrong; see ``find_place``.
    """
    if not names:
        yield lambda observe: observe
        return
    from adamtune.exports.live import LiveExport, with_notes
    from adamtune.exports.registry import find_place

    places = [find_place(each, "--log-to", storage) for each in names]
    exports = [LiveExport(each, storage, study) for each in places]
    seconds: float | None = INTERRUPTED_SECONDS
    try:
        yield lambda observe: with_notes(observe, exports)
        seconds = None
    except typer.Exit as stop:
        if isinstance(stop.__cause__, KeyboardInterrupt):  # the second Ctrl-C stops everything at once
            seconds = 0.0
        raise
    finally:
        for each in exports:
            each.end()
        for each in exports:
            _finish(each, seconds, storage, study)


def _finish(export: LiveExport, seconds: float | None, storage: str, study: str) -> None:
    """Waits for an export, and says how it ended."""
    from adamtune.cli.result import command
    from adamtune.exports.follower import NOTHING

    place = export.place
    try:
        if seconds != 0 and not export.wait(1):
            typer.echo(f"Writing the rest to {place}; Ctrl-C leaves it for later.", err=True)
            export.wait(seconds)
    except KeyboardInterrupt:
        pass
    finally:
        export.close()
    if export.code == 0:
        typer.echo(f"Logged to {place}. View: {place.view}", err=True)
    elif export.code != NOTHING:
        later = command("export", study, storage, "--to", str(place))
        typer.echo(f"{place}: not everything was written. Write it with:\n  {later}", err=True)
