"""A study with all its settings, and what tells two studies apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import product
from typing import Any, Literal

from pydantic import Field, ValidationError

from adamtune.config.keys import WORKER_KEYS, ScalarKeys, Search
from adamtune.config.space import Frozen, Space, Value
from adamtune.config.task_choice import CommandChoice, TaskChoice
from adamtune.errors import AdamtuneError
from adamtune.recipe import USUAL, Recipe
from adamtune.tasks.base import Direction, Task
from adamtune.tasks.entry import TaskEntry

Settings = Mapping[str, Value]
"""Everything that an optimizer and a schedule are made with, by the names that trials have them under."""


class Objective(Frozen):
    """The objective of a study: a metric that the task reports, and its good direction."""

    metric: str
    direction: Direction


class StudyConfig(ScalarKeys):
    """A study with every default and every override applied.

    Attributes:
        task: the task and its settings that are not searched.
        space: everything that trials are trained with: searched and fixed.
        search: how the space is searched.
        objective: the metric that ranks the trials.
        baseline: what the best trial is compared with; settings by hand, without those of the task.
        text: the text of the study file, without the overrides. It is not part of ``canonical``.
    """

    task: TaskChoice | CommandChoice
    space: Space
    search: Search
    objective: Objective
    baseline: Literal["default", "lr_only"] | Settings = "default"
    text: str = Field("", exclude=True, repr=False)

    @property
    def optimizers(self) -> tuple[str, ...]:
        """The names of the optimizers in the space, in the file's order."""
        return tuple(self.space.optimizers)

    @property
    def recipe(self) -> Recipe:
        """How all trials are trained."""
        return Recipe(**{name: getattr(self, name) for name in Recipe._fields})

    @property
    def trials(self) -> int:
        """The trials of the finished study: as many as asked for, or as its space has combinations."""
        return min(self.search.trials, self.space.combinations or self.search.trials)

    def task_extremes(self) -> list[Task]:
        """The settings of the task at the ends of its searched settings.

        They have every combination of the least and the greatest of each searched number and of all
        other searched values. So they tell the largest model, the longest training and all data that the
        space can ask for. The default of a searched setting is not among them: no trial may use it.
        """
        ends = {name: _ends(each.extremes()) for name, each in self.space.task.items()}
        combinations = (dict(zip(ends, values, strict=True)) for values in product(*ends.values()))
        entry = self.task.entry
        assert isinstance(entry, TaskEntry)
        model = entry.settings
        return [model.model_validate({**self.task.settings, **each}) for each in combinations]

    def canonical(self) -> dict[str, Any]:
        """The whole study as plain JSON values; the order of keys is part of it."""
        return self.model_dump(mode="json")

    @classmethod
    def from_canonical(cls, canonical: Mapping[str, Any], text: str = "") -> StudyConfig:
        """The study of a canonical form.

        Args:
            canonical: what ``canonical`` returned.
            text: the text of the study file.

        Raises:
            AdamtuneError: a version of adamtune with other keys wrote the canonical form.
        """
        try:
            return cls.model_validate({**canonical, "text": text})
        except ValidationError as error:
            keys = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
            raise AdamtuneError(
                f"the study was kept by another version of adamtune: cannot read {keys}; use that version"
            ) from error

    def meaning(self) -> dict[str, Any]:
        """The part of ``canonical`` that decides the settings and the result of every trial.

        It lacks the name, the storage, and what may be changed later: the end of the search, which curves are
        kept, how its result is confirmed, which workers there are, and the folder of a command.
        """
        canonical = self.canonical()
        for key in ("name", "storage", "baseline", *WORKER_KEYS):
            del canonical[key]
        for key in ("trials", "timeout", "trial_timeout", "max_failures", "keep_curves", "confirm", "ablate"):
            del canonical["search"][key]
        # Studies of versions without the key keep their hash.
        if self.search.start == Search.model_fields["start"].default:
            del canonical["search"]["start"]
        canonical["task"].pop("folder", None)
        # Studies of 0.3.0 do not have these: what is at its default must not change a hash.
        if not canonical["space"]["training"]:
            del canonical["space"]["training"]
        for key, default in USUAL._asdict().items():
            if canonical.get(key) == default:
                del canonical[key]
        return canonical

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the meaning."""
        return sha256(json.dumps(self.meaning()).encode()).hexdigest()


def _ends(values: Sequence[Value]) -> Sequence[Any]:
    """The least and the greatest of numbers; all of other values."""
    numbers = [each for each in values if isinstance(each, int | float)]
    return (min(numbers), max(numbers)) if len(numbers) == len(values) else values
