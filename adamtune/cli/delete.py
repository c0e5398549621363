"""``adamtune delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from adamtune.cli.options import STORAGE, Storage, Study


def delete(
    study: Study,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    storage: Storage = STORAGE,
) -> None:
    """Delete a study with all its trials, after asking."""
    from adamtune.storage.reading import delete_study, read_study

    trials = len(read_study(storage, study).trials)
    if not yes:
        typer.confirm(f"Delete study {study} with its {trials} trials from {storage}?", abort=True, err=True)
    delete_study(storage, study)
    typer.echo(f"Deleted study {study} with its {trials} trials from {storage}.")
