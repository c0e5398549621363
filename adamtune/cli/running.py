"""What ``search`` and ``resume`` share: the view while trials run, and the result at the end."""

from __future__ import annotations

from collections.abc import Callable

import typer

from adamtune.cli.result import command, is_exhausted, show_result
from adamtune.reports.console import console
from adamtune.reports.live import Observer, following
from adamtune.reports.numbers import clock
from adamtune.reports.ranking import rank
from adamtune.search.progress import Outcome
from adamtune.storage.reading import read_study

TOP = 10


def follow(run: Callable[[Observer], Outcome], location: str, name: str) -> None:
    """Runs a search with its view on stderr, then prints the result.

    Raises:
        typer.Exit: with code 130, if the search was interrupted.
    """
    resume = f"Go on with:\n  {command('resume', name, location)}"
    try:
        with following(console(stderr=True)) as observe:
            outcome = run(observe)
    except KeyboardInterrupt as error:  # the second Ctrl-C
        typer.echo(f"Stopped at once; what was committed is saved. {resume}", err=True)
        raise typer.Exit(130) from error
    ranking = rank(read_study(location, name))
    if outcome.reason != "interrupted":
        typer.echo(f"{_ending(outcome, is_exhausted(ranking))}\n")
    show_result(console(), ranking, location, TOP)
    if outcome.reason == "interrupted":
        typer.echo(f"\nInterrupted, and saved: {_standing(outcome)}. {resume}", err=True)
        raise typer.Exit(130)


def _ending(outcome: Outcome, exhausted: bool) -> str:
    progress = outcome.progress
    if outcome.reason == "already_complete" and exhausted:
        return f"Nothing more to do: {_standing(outcome)}, every combination of the grid."
    if outcome.reason == "already_complete":
        return f"Nothing more to do: {_standing(outcome)}. To go on, ask for more with --trials."
    if outcome.reason == "timeout":
        return f"The timeout ended the run: {_standing(outcome)}. The same command goes on."
    return f"{_standing(outcome)}; this run finished {progress.ended} in {clock(progress.elapsed)}."


def _standing(outcome: Outcome) -> str:
    progress = outcome.progress
    return f"{progress.done} of {max(progress.total, progress.done)} trials are finished"
