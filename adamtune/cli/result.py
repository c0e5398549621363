"""The result of a study for people: the ranked table, the best settings as code, and how to go on."""

from __future__ import annotations

import shlex

from rich.console import Console

from adamtune.cli.options import STORAGE
from adamtune.optimizers.as_code import render
from adamtune.reports.console import show_best, show_hints, show_ranking
from adamtune.reports.ranking import Ranking
from adamtune.storage.location import without_password


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
    """Whether there is no more to try, however many trials are asked for: every combination of a grid was."""
    study = ranking.study.study or {}
    if study.get("search", {}).get("sampler") != "grid":
        return False
    from adamtune.config import Study as StudyFile

    finished = len(ranking.rows) - ranking.counts["running"] - ranking.counts["failed"]
    return finished >= StudyFile.from_canonical(study).space.combinations


def command(verb: str, study: str, location: str, *options: str) -> str:
    """An adamtune command that can be pasted into a shell; without the password of a database URL."""
    place = [] if location == STORAGE else ["--storage", without_password(location)]
    return shlex.join(["adamtune", verb, study, *options, *place])
