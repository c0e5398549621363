"""``adamtune delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from adamtune.cli.options import STORAGE, Storage, Study


def delete(
    study: Study,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation")] = False,
    storage: Storage = STORAGE,
) -> None:
    """Delete a study and all its trials, after confirmation."""
    from adamtune.storage.location import without_password
    from adamtune.storage.studies import delete_study, read_study

    # Read first, so that a name without a study is an error before the question, not after it.
    trials = len(read_study(storage, study).trials)
    what = f"study {study} with its {trials} trials from {without_password(storage)}"
    if not yes:
        try:
            typer.confirm(f"Delete {what}?", abort=True, err=True)
        except typer.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from abort  # Click makes the same Abort of Ctrl-C and of a no
            raise
    delete_study(storage, study)
    typer.echo(f"Deleted {what}.")
