"""``--report``: the page of a study, which a search keeps up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from adamtune.errors import AdamtuneError

if TYPE_CHECKING:
    from adamtune.reports.page.live import LivePage
    from adamtune.search.progress import Observer, Progress


@contextmanager
def live_page(file: str | None, storage: str, study: str) -> Iterator[Callable[[Observer], Observer]]:
    """Writes the page of a study while the block runs, and at its end.

    Yields what makes an observer of the search one that also writes the page.

    Args:
        file: the file, as the user named it; None for no page.
        storage: the storage of the study, which may not be there yet.
        study: the name of the study.

    Raises:
        Refused: the file holds studies.
        AdamtuneError: its folder is not there.
    """
    if file is None:
        yield lambda observe: observe
        return
    from adamtune.reports.page.live import LivePage
    from adamtune.storage.location import check_output, file_path

    path = file_path(file)
    check_output(path, storage)
    if not path.absolute().parent.is_dir():
        raise AdamtuneError(f"--report {file}: there is no folder {path.parent}. Make it first.")
    page = LivePage(path, storage, study)

    def with_page(observe: Observer) -> Observer:
        def both(progress: Progress) -> None:
            observe(progress)
            page.update()

        return both

    try:
        yield with_page
    except typer.Exit as stop:
        if not isinstance(stop.__cause__, KeyboardInterrupt):  # the second Ctrl-C stops everything at once
            _finish(page)
        raise
    _finish(page)


def _finish(page: LivePage) -> None:
    try:
        page.write()
        typer.echo(f"Page: {page.file}", err=True)
    except AdamtuneError as error:
        typer.echo(f"The page was not written: {error}", err=True)
