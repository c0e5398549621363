"""``adamtune export``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamtune.cli.options import STORAGE, Storage, Study, say
from adamtune.errors import UsageError

if TYPE_CHECKING:
    from adamtune.analysis.ranking import Ranking
    from adamtune.storage.records import TrialRecord


def export(
    study: Study,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="KIND:PLACE",
            help="Write every trial to a tracker: mlflow:URI, tensorboard:FOLDER or wandb:FOLDER (offline)",
        ),
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option("--settings", metavar="FILE", help="Write the recommended settings to this file (JSON)"),
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            min=0,
            metavar="N",
            help="With --settings: those of this trial (default: what the verdict recommends)",
        ),
    ] = None,
    storage: Storage = STORAGE,
) -> None:
    """Write trials to a tracker, or recommended settings to a file."""
    if (to is None) == (settings is None) or (to is not None and trial is not None):
        raise UsageError("write one of --to KIND:PLACE and --settings FILE; --trial N goes with --settings")
    if to is not None:
        _to_tracker(study, to, storage)
    if settings is not None:
        _to_file(study, settings, trial, storage)


def _to_tracker(study: str, to: str, storage: str) -> None:
    from adamtune.analysis.ranking import rank
    from adamtune.exports.registry import find_place, tracker_error
    from adamtune.exports.runs import runs
    from adamtune.storage.studies import read_study

    place = find_place(to, "--to", storage)
    found = list(runs(rank(read_study(storage, study))))
    try:
        target = place.open(study)
        with typer.progressbar(found, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            written = sum(target.write(run) for run in bar)
        target.close()
    except Exception as error:  # whatever the tracker's library raises
        raise tracker_error(place, error) from error
    there = f"{written} runs of {study} written, {len(found) - written} were there"
    typer.echo(f"{place}: {there}. View: {place.view}", err=True)


def _to_file(study: str, settings: str, trial: int | None, storage: str) -> None:
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
    say(f"{file}: {which} of {study}.{said}", err=True)


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
