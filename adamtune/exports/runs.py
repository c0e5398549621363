"""What every tracker gets of a study: a run for the study, and a run for each of its trials."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

from adamtune.analysis.confirmation import PAIR
from adamtune.analysis.ranking import BASELINE, Ranking
from adamtune.analysis.verdict import Verdict
from adamtune.storage.records import State, TrialRecord

Points = Mapping[str, Mapping[int, float]]
"""The values of each metric by step."""

_CHANGEABLE = ("trials", "timeout", "confirm", "ablate")
"""Keys of ``search`` that a resumed study may change, so that they are no parameters of its run."""


@dataclass(frozen=True)
class Run:
    """A trial of a study, or the study itself, whose trials are nested in it.

    Attributes:
        study: the name of the study.
        trial: the number of the trial; None for the study itself.
        state: of the trial; of the study ``running`` while one of its trials is, then ``complete``.
        params: what a trial was trained with; what all trials of a study have in common.
        points: of a trial the objective at each evaluation and every metric at the last; of a study the
            metrics of the trainings on fresh seeds, whose steps are the numbers of the seeds. A metric that
            is not finite stays so.
        tags: what else there is to say, in words.
        begun, ended: naive UTC.
    """

    study: str
    trial: int | None
    state: State
    params: Mapping[str, Any]
    points: Points
    tags: Mapping[str, str]
    begun: datetime | None = None
    ended: datetime | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.study if self.trial is None else f"trial {self.trial}"

    @cached_property
    def fingerprint(self) -> str:
        """The same for runs that are written alike, and for no others."""
        content = [getattr(self, name) for name in self.__dataclass_fields__]
        return sha256(json.dumps(content, default=str).encode()).hexdigest()[:32]

    @property
    def rows(self) -> list[tuple[int, dict[str, float]]]:
        """The points as the metrics of each step, the first step first."""
        steps = sorted({step for values in self.points.values() for step in values})
        return [
            (step, {name: values[step] for name, values in self.points.items() if step in values})
            for step in steps
        ]


class Target(Protocol):
    """The runs of one study in a tracker."""

    def write(self, run: Run) -> bool:
        """Writes a run, or what has changed of it since it was written.

        The run of the study comes first. Whatever the tracker's library raises is raised.

        Returns:
            Whether anything was written: False for a run that is there and equal.
        """

    def close(self) -> None:
        """Ends the writing: everything is where it can be read."""


Open = Callable[[str, str], Target]
"""Opens a target: the place as the user named it, and the name of the study."""


def runs(ranking: Ranking) -> Iterator[Run]:
    """The run of the study, then those of its trials by number."""
    study = ranking.study
    named = {"study": study.name, "metric": study.metric, "direction": study.direction}
    common = {**named, "versions": ", ".join(f"{name} {each}" for name, each in study.versions.items())}
    trials = sorted(study.trials, key=lambda each: each.number)
    begun = min((each.begun for each in trials if each.begun), default=None)
    running = ranking.counts["running"] > 0
    ended = None if running else max((each.ended for each in trials if each.ended), default=None)
    state: State = "running" if running else "complete"
    params, fresh = _common(study.study or {}), _fresh(ranking.verdict)
    tags = common | _hashes(ranking) | _verdict(ranking)
    yield Run(study.name, None, state, params, fresh, tags, begun, ended)
    for each in trials:
        points, own = _points(each, study.metric), common | _tags(each)
        yield Run(study.name, each.number, each.state, each.settings, points, own, each.begun, each.ended)


def _points(trial: TrialRecord, metric: str) -> dict[str, Mapping[int, float]]:
    """The objective at each evaluation; then every other metric, and the seconds, at the last one."""
    at = trial.steps
    curve = trial.intermediate or ({} if trial.value is None else {at: trial.value})
    if trial.state == "running":
        return {metric: curve}
    last = {"seconds": trial.seconds, **trial.metrics}
    return {metric: curve, **{name: {at: value} for name, value in last.items() if name != metric}}


def _tags(trial: TrialRecord) -> dict[str, str]:
    found = {"trial": str(trial.number), "state": trial.state, "seeds": json.dumps(list(trial.seeds))}
    if trial.diverged_at is not None:
        found["diverged_at"] = str(trial.diverged_at)
    return found | ({"failure": trial.failure} if trial.failure else {})


def _common(study: Mapping[str, Any]) -> dict[str, Any]:
    """What all trials of a study are trained with, by dotted keys of the study file."""
    task, search = study.get("task", {}), study.get("search", {})
    flat = {name: each for name, each in task.items() if name != "settings"} | task.get("settings", {})
    kept = {name: each for name, each in search.items() if name not in _CHANGEABLE}
    parts = {"task": flat, "search": kept}
    return {f"{part}.{name}": each for part, its in parts.items() for name, each in its.items()}


def _hashes(ranking: Ranking) -> dict[str, str]:
    names = ("study_hash", "data_hash", "code_hash")
    return {name: found for name in names if (found := getattr(ranking.study, name))}


def _verdict(ranking: Ranking) -> dict[str, str]:
    """The verdict in words, and the settings to use."""
    verdict, best = ranking.verdict, ranking.recommended
    if verdict is None or best is None:
        return {}
    which = "baseline" if best.number == BASELINE else f"trial {best.number}"
    said = {"verdict": verdict.sentence, "outcome": verdict.outcome, "recommended": which}
    return said | {"recommended_settings": json.dumps(dict(best.settings))}


def _fresh(verdict: Verdict | None) -> dict[str, dict[int, float]]:
    """Each metric of the trainings on fresh seeds, and the difference that the verdict is about."""
    if verdict is None or verdict.confirmation is None:
        return {}
    confirmation, sides = verdict.confirmation, dict(zip(PAIR, ("candidate", "baseline"), strict=True))
    found = {
        f"fresh/{side}/{metric}": dict(enumerate(confirmation.values(role, metric)))
        for role, side in sides.items()
        for metric in confirmation.metrics()
    }
    ends = verdict.interval or (None, None)
    numbers = {"difference": verdict.difference, "interval_low": ends[0], "interval_high": ends[1]}
    return found | {f"verdict/{name}": {0: each} for name, each in numbers.items() if each is not None}
