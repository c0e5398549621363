"""Durations as people write them, such as ``30m`` or ``1h30m``, in seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from adamtune.config.problems import dotted, show
from adamtune.config.space import Frozen, Space, Value
from adamtune.errors import AdamtuneError
from adamtune.tasks.base import Direction, Settings
from adamtune.tasks.registry import TASKS

PATTERN = r"^(?=[0-9.])([0-9.]+d)?([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?$"
EXAMPLES = "a duration such as 90s, 30m or 1h30m"
ALLOWED = f"a number of seconds above 0, or {EXAMPLES}"
SECONDS = (86400, 3600, 60, 1)


def parse_duration(value: object) -> object:
    """Seconds of a text such as ``1h30m``; what is no text is left for the type to judge.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(PATTERN, value.strip())
    try:
        parts = [float(part[:-1]) if part else 0.0 for part in match.groups()] if match else []
    except ValueError:  # such as 1.2.3s
        parts = []
    total = sum(part * seconds for part, seconds in zip(parts, SECONDS, strict=False))
    if total <= 0:
        raise ValueError(f"found {value!r}; allowed: {ALLOWED}")
    return total


Duration = Annotated[
    float,
    Field(gt=0, allow_inf_nan=False),
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": PATTERN, "description": EXAMPLES},
            ]
        }
    ),
]
"""Seconds, read from a number or a text."""

Sampler = Literal["tpe", "gp", "cmaes", "qmc", "random", "grid"]
Pruner = Literal["none", "median", "asha", "hyperband"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Head(Frozen):
    """The keys of a study file that stand alone."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="up to 100 letters, digits, '.', '_' and '-', a letter or digit first",
    )
    storage: str = Field("runs/adamtune.db", min_length=1, description="a file, or a database URL")
    engine: Literal["auto", "population", "sequential"] = Field("auto", description="how trials are trained")
    population: Literal["auto"] | Count = Field("auto", description="how many trainings run in lockstep")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where tensors live")


class Search(Frozen):
    """How the space is searched."""

    trials: Count = Field(64, description="the study's total, resumed runs included")
    timeout: Duration | None = Field(None, description="ends the search after so much time")
    sampler: Sampler = Field("tpe", description="what suggests the settings of the next trial")
    pruner: Pruner = Field("none", description="what stops trials that look hopeless")
    seeds: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="training seeds per trial; the trial's value is their mean"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="all randomness derives from it")


class Objective(Frozen):
    """What makes a trial good: a metric that the task reports, and its good direction."""

    metric: str
    direction: Direction


class TaskChoice(Frozen):
    """What is trained: a name of the task catalog and every setting that is not searched."""

    name: str
    settings: Mapping[str, Value]


class StudyConfig(Head):
    """A study file, resolved.

    Attributes:
        text: the file as it was read, which the command line's overrides are not in. It is no
            part of ``canonical``.
    """

    task: TaskChoice
    space: Space
    search: Search
    objective: Objective
    text: str = Field("", exclude=True, repr=False)

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The optimizers that a trial may use, in the file's order."""
        return tuple(self.space.optimizers)

    @property
    def trials(self) -> int:
        """The trials of the finished study: as many as asked for, or as its space has combinations."""
        return min(self.search.trials, self.space.combinations or self.search.trials)

    def task_extremes(self) -> list[Settings]:
        """The settings of the task at the ends of its searched settings.

        They have every combination of the least and the greatest of each searched number and of all
        other searched values. So they tell the largest model, the longest training and all data that the
        space can ask for. The default of a searched setting is not among them: no trial may use it.
        """
        ends = {name: _ends(each.extremes()) for name, each in self.space.task.items()}
        combinations = (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
        model = TASKS[self.task.name].settings
        return [model.model_validate({**self.task.settings, **each}) for each in combinations]

    def canonical(self) -> dict[str, Any]:
        """The whole study as plain JSON values; the order of keys is part of it."""
        return self.model_dump(mode="json")

    @classmethod
    def from_canonical(cls, canonical: Mapping[str, Any], text: str = "") -> StudyConfig:
        """The study that ``canonical`` was made of.

        Raises:
            AdamtuneError: it was made by a version of adamtune with other keys.
        """
        try:
            return cls.model_validate({**canonical, "text": text})
        except ValidationError as error:
            keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            raise AdamtuneError(
                f"the study was kept by another version of adamtune: cannot read {keys}; use that version"
            ) from error

    def meaning(self) -> dict[str, Any]:
        """The part of ``canonical`` that decides what the study's trials are and what becomes of them.

        All but the name, the storage, and when to stop: trials and timeout may be raised later.
        """
        canonical = self.canonical()
        for key in ("name", "storage"):
            del canonical[key]
        for key in ("trials", "timeout"):
            del canonical["search"][key]
        return canonical

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the meaning."""
        return sha256(json.dumps(self.meaning()).encode()).hexdigest()


def _ends(values: Sequence[Value]) -> Sequence[Any]:
    """The least and the greatest of numbers; all of other values."""
    numbers = [each for each in values if isinstance(each, int | float)]
    return (min(numbers), max(numbers)) if len(numbers) == len(values) else values


class Difference(NamedTuple):
    """One key whose value differs; None where a study does not have it."""

    path: str
    old: object
    new: object

    def __str__(self) -> str:
        return f"{self.path}: {show(self.old)} -> {show(self.new)}"


def differences(old: StudyConfig, new: StudyConfig) -> list[Difference]:
    """Every change of what the trials mean, by key path as in the study file.

    Empty exactly when the two hashes agree. An optimizer or a schedule that only one study
    has counts as one difference, whatever hyperparameters come with it.
    """
    before, after = dict(_written(old)), dict(_written(new))
    owners = [{owner for owner, _ in each} for each in (before, after)]
    keys = [key for key in before | after if key[0] in owners[0] & owners[1]]
    changed = [Difference(path, before.get((owner, path)), after.get((owner, path))) for owner, path in keys]
    return list({repr(each): each for each in changed if each.old != each.new}.values())


def _written(study: StudyConfig) -> Iterator[tuple[tuple[str, str], object]]:
    """Every meaningful value, by the optimizer or schedule that it belongs to (or none) and its path."""
    meaning = study.meaning()
    yield ("", "task.name"), study.task.name
    yield from ((("", f"task.{name}"), each) for name, each in study.task.settings.items())
    yield ("", "optimizer"), list(study.optimizers)
    yield ("", "space.schedule.name"), list(study.space.schedules)
    for owner, path, leaf in study.space.leaves():
        yield (owner, dotted(path)), leaf.written()
    for section in ("search", "objective"):
        yield from ((("", f"{section}.{key}"), each) for key, each in meaning[section].items())
    yield from ((("", key), meaning[key]) for key in ("engine", "population", "device"))
