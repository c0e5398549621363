"""The result of a study for people: the ranked table, the best settings as code, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import typer
from rich.console import Console

from adamtune.analysis.ranking import Ranking, rank
from adamtune.cli.options import STORAGE
from adamtune.reports.as_code import render
from adamtune.reports.console import console, show_best, show_hints, show_ranking
from adamtune.reports.live import following
from adamtune.reports.numbers import clock
from adamtune.search.progress import Observer, Outcome
from adamtune.storage.location import without_password
from adamtune.storage.reading import read_study


def show_result(out: Console, ranking: Ranking, location: str, top: int | None) -> None:
    """Prints the first ``top`` trials and everything that follows from the best one."""
    best = ranking.best
    show_ranking(out, ranking, top)
    show_best(
        out, ranking, render(best.settings, best.steps) if best and "optimizer" in best.settings else ""
    )
    show_hints(out, _hints(ranking, location, top))


def _hints(ranking: Ranking, location: str, top: int | None) -> list[tuple[str, str]]:
    name, trials = ranking.study.name, len(ranking.rows)
    finished = trials - ranking.counts["running"]
    wanted = (ranking.study.study or {}).get("search", {}).get("trials", 0)
    more = () if finished < wanted else ("--trials", str(2 * max(finished, 1)))
    hints = []
    if ranking.study.study and not is_exhausted(ranking):
        hints += [("more trials", command("resume", name, location, *more))]
    if top is not None and top < trials:
        hints += [("every trial", command("report", name, location, "--top", str(trials)))]
    return [*hints, ("for programs", command("report", name, location, "--format", "json"))]


def is_exhausted(ranking: Ranking) -> bool:
    """Whether every combination of the space was tried, so that asking for more trials trains none."""
    if not ranking.study.study:
        return False
    from adamtune.config import StudyConfig

    finished = len(ranking.rows) - ranking.counts["running"] - ranking.counts["failed"]
    combinations = StudyConfig.from_canonical(ranking.study.study).space.combinations
    return combinations is not None and finished >= combinations


def command(verb: str, study: str, location: str, *options: str) -> str:
    """An adamtune command that can be pasted into a shell; without the password of a database URL."""
    place = [] if location == STORAGE else ["--storage", without_password(location)]
    return shlex.join(["adamtune", verb, study, *options, *place])


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
        return f"Nothing more to do: {_standing(outcome)}, every combination of the space."
    if outcome.reason == "already_complete":
        return f"Nothing more to do: {_standing(outcome)}. To go on, ask for more with --trials."
    if outcome.reason == "timeout":
        return f"The timeout ended the run: {_standing(outcome)}. The same command goes on."
    return f"{_standing(outcome)}; this run finished {progress.ended} in {clock(progress.elapsed)}."


def _standing(outcome: Outcome) -> str:
    progress = outcome.progress
    return f"{progress.done} of {max(progress.total, progress.done)} trials are finished"
