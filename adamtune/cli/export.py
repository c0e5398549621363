"""``adamtune export``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adamtune.cli.options import STORAGE, Storage, Study
from adamtune.errors import UsageError

if TYPE_CHECKING:
    from adamtune.analysis.ranking import Ranking
    from adamtune.storage.records import TrialRecord


def export(
    study: Study,
    *,
    settings: Annotated[
        str, typer.Option("--settings", metavar="FILE", help="Write the settings to this file (JSON)")
    ],
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            min=0,
            metavar="N",
            help="Settings of this trial (default: what the verdict recommends)",
        ),
    ] = None,
    storage: Storage = STORAGE,
) -> None:
    """Write the settings that a study recommends to a file."""
    from adamtune.analysis.ranking import BASELINE, rank
    from adamtune.reports.files import to_settings, write_atomically
    from adamtune.storage.location import check_output, file_path
    from adamtune.storage.studies import read_study

    file = file_path(settings)
    check_output(file, storage)
    ranking = rank(read_study(storage, study))
    chosen = _chosen(ranking, trial)
    write_atomically(file, to_settings(ranking, chosen))
    which = "the baseline" if chosen.number == BASELINE else f"trial {chosen.number}"
    said = f" {ranking.verdict.sentence}" if trial is None and ranking.verdict else ""
    typer.echo(f"{file}: {which} of {study}.{said}", err=True)


def _chosen(ranking: Ranking, number: int | None) -> TrialRecord:
    """The trial of a number, or the recommended one.

    Raises:
        UsageError: there is none, or it is not complete, or another program made the study.
    """
    study = ranking.study
    if study.study is None:
        raise UsageError(f"study {study.name} was not made by adamtune: there are no settings to export")
    if number is None:
        if ranking.recommended is None:
            raise UsageError(f"study {study.name}: no trial is complete yet. Run the search first.")
        return ranking.recommended
    found = next((row.trial for row in ranking.rows if row.trial.number == number), None)
    if found is None:
        raise UsageError(f"study {study.name} has no trial {number}; it has {len(ranking.rows)}, from 0")
    if found.state != "complete":
        raise UsageError(f"study {study.name}: trial {number} is {found.state}; choose a complete one")
    return found
