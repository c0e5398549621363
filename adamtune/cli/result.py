"""The result of a study: the ranked table, the best settings as code, and the next commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import typer
from rich.console import Console

from adamtune.analysis.ranking import Ranking
from adamtune.api import search as api
from adamtune.cli.options import STORAGE, program
from adamtune.errors import AdamtuneError
from adamtune.reports.as_code import recommended_code
from adamtune.reports.console import (
    console,
    show_best,
    show_effects,
    show_failures,
    show_hints,
    show_importance,
    show_ranking,
    show_scatter,
    show_verdict,
)
from adamtune.reports.live import progress_view
from adamtune.reports.text import duration
from adamtune.search.progress import Observer, Outcome, Progress
from adamtune.storage.location import without_password

TOP = 10
"""Rows of the table at the end of a search."""


def follow(run: Callable[[Observer], Outcome], location: str, name: str) -> None:
    """Runs a search with its progress on stderr, then prints the result.

    Args:
        run: the search, which calls the observer that it gets after every round.
        location: the storage.
        name: the study.

    Raises:
        typer.Exit: with code 130, if the search was interrupted.
    """
    resume = f"Continue with:\n  {command('resume', name, location)}"
    try:
        outcome, study = api.follow(run, progress_view(console(stderr=True)), location, name)
    except KeyboardInterrupt as error:  # the second Ctrl-C
        typer.echo(f"Stopped at once; everything up to the last commit is saved. {resume}", err=True)
        raise typer.Exit(130) from error
    ranking = study.ranking
    interrupted = outcome.reason == "interrupted"
    if not interrupted:
        typer.echo(f"{_ending(outcome, is_exhausted(ranking))}\n")
    show_result(console(), ranking, location, TOP)
    if interrupted:
        typer.echo(f"\nInterrupted and saved: {_done(outcome.progress)}. {resume}", err=True)
        raise typer.Exit(130)


def _ending(outcome: Outcome, exhausted: bool) -> str:
    """The first line of the result."""
    progress = outcome.progress
    if outcome.reason == "already_complete":
        more = "Every combination of the space is done." if exhausted else "Use --trials N to run more."
        return f"Nothing to do: {_done(progress)}. {more}"
    if outcome.reason == "timeout":
        return f"Stopped by the timeout: {_done(progress)}. Run the same command again to continue."
    done = _done(progress)
    return f"{done}{',' if ', ' in done else ''} in {duration(progress.elapsed)}"


def _done(progress: Progress) -> str:
    """Such as ``30/30 trials done``; for a resumed search with the number of this run."""
    now = f", {progress.ended} of them in this run" if 0 < progress.ended < progress.done else ""
    return f"{progress.done}/{max(progress.total, progress.done)} trials done{now}"


def show_result(
    out: Console,
    ranking: Ranking,
    location: str,
    top: int,
    importance: bool = False,
    plot: bool = False,
) -> None:
    """Prints the first ``top`` trials, the verdict, the recommended settings as code, and next commands.

    Args:
        out: the terminal or file.
        ranking: the ranked study.
        location: its storage.
        top: rows of the table.
        importance: whether to say how much each setting explains.
        plot: whether to plot the value against lr.
    """
    study = ranking.study
    show_ranking(out, ranking, top)
    show_failures(out, study.trials)
    show_verdict(out, ranking)
    show_best(out, ranking, recommended_code(ranking))
    show_effects(out, ranking)
    if plot:
        show_scatter(out, ranking)
    if importance:
        show_importance(out, ranking)
    show_hints(out, _hints(ranking, location, top))


def _hints(ranking: Ranking, location: str, top: int) -> list[tuple[str, str]]:
    name, trials = ranking.study.name, len(ranking.rows)
    finished = trials - ranking.counts["running"] - ranking.counts["failed"]
    wanted = (ranking.study.study or {}).get("search", {}).get("trials", 0)
    # Twice as many: a few more trials rarely change a result.
    more = () if finished < wanted else ("--trials", str(2 * max(finished, 1)))
    hints = []
    if ranking.study.study and not is_exhausted(ranking):
        hints += [("more trials", command("resume", name, location, *more))]
    if top < trials:
        hints += [("all trials", command("report", name, location, "--top", str(trials)))]
    return [*hints, ("as JSON", command("report", name, location, "--format", "json"))]


def is_exhausted(ranking: Ranking) -> bool:
    """Whether every combination of the space was tried, so that asking for more trials trains none."""
    from adamtune.config import StudyConfig

    if not ranking.study.study:
        return False
    try:
        combinations = StudyConfig.from_canonical(ranking.study.study).space.combinations
    except AdamtuneError:  # of another version, which can be reported, but not resumed
        return False
    finished = len(ranking.rows) - ranking.counts["running"] - ranking.counts["failed"]
    return combinations is not None and finished >= combinations


def command(verb: str, study: str, location: str, *options: str) -> str:
    """An adamtune command to paste into a shell; without the password of a database URL."""
    place = [] if location == STORAGE else ["--storage", without_password(location)]
    return f"{program()} {shlex.join([verb, study, *options, *place])}"
