"""``--log-to``: the export of a search while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from adamtune.exports.live import Search
    from adamtune.exports.registry import Place


def log_to(
    names: Sequence[str], storage: str, study: str
) -> AbstractContextManager[Callable[[Search], Search]]:
    """Exports a study while the block runs; see ``exported``. Messages go to stderr.

    Args:
        names: the places, as the user named them.
        storage: the storage of the study, which may not be there yet.
        study: the name of the study.
    """
    from adamtune.exports.live import exported

    def fail(place: Place) -> None:
        from adamtune.cli.result import command

        later = command("export", study, storage, "--to", str(place))
        typer.echo(f"{place}: not everything was written. Write it with:\n  {later}", err=True)

    return exported(names, "--log-to", storage, study, partial(typer.echo, err=True), fail)
