"""A study as its file asks for it: the keys of each section, and what tells two studies apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SkipValidation, ValidationError, WithJsonSchema

from adamtune.config.duration import Duration
from adamtune.config.space import Frozen, Space, Value
from adamtune.errors import AdamtuneError, UsageError
from adamtune.recipe import USUAL, DecayOn, Precision, Recipe
from adamtune.tasks.base import Direction, Task
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry
from adamtune.tasks.registry import find_task

Sampler = Literal["tpe", "gp", "cmaes", "qmc", "random", "grid"]
Pruner = Literal["none", "median", "asha", "hyperband"]
Start = Literal["default", "priors", "none"]
Count = Annotated[int, Field(ge=1, le=1_000_000)]

# YAML 1.1 reads an unquoted off as false.
_Off = BeforeValidator(lambda value: "off" if value is False else value)
Confirm = Annotated[
    Literal["auto", "off", "small", "full"] | Annotated[int, Field(ge=10, le=100_000)],
    _Off,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": ["auto", "off", "small", "full"]},
                {"type": "integer", "minimum": 10, "maximum": 100_000},
            ]
        }
    ),
]

Ablate = Annotated[
    Literal["auto", "on", "off"],
    BeforeValidator(lambda value: {True: "on", False: "off"}.get(value, value)),
    WithJsonSchema({"type": "string", "enum": ["auto", "on", "off"]}),
]

Settings = Mapping[str, Value]
"""Everything that an optimizer and a schedule are made with, by the names that trials have them under."""

WORKER_KEYS = ("workers", "cluster", "cpus", "gpus", "deterministic")
"""The keys that say which workers there are. The result of a trial does not depend on them."""

DEFAULT_SPACE = {"lr": {"low": 1e-5, "high": 1e-1, "log": True}}
"""The space of a file without ``space``."""


class ScalarKeys(Frozen):
    """The keys of a study file whose value is a scalar: where the study is kept and how it is trained."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="up to 100 letters, digits, '.', '_' and '-', a letter or digit first",
    )
    storage: str = Field("runs/adamtune.db", min_length=1, description="a file, a journal, or a database URL")
    engine: Literal["auto", "population", "sequential"] = Field("auto", description="how trials are trained")
    population: Literal["auto"] | Count = Field("auto", description="how many trainings run at once")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where tensors live")
    workers: Literal["auto"] | Count = Field(
        "auto",
        description="how many processes train at once; auto is one, or as many as a cluster has room for",
    )
    cluster: str = Field(
        "none",
        pattern=r"^(none|ray|ray:.+)$",
        description="where the workers are: none is this machine, ray a Ray cluster, ray:ADDRESS another one",
    )
    cpus: Literal["auto"] | Annotated[float, Field(gt=0, le=1024)] = Field(
        "auto", description="cores of each worker; auto is an equal part of this machine's, or one"
    )
    gpus: Annotated[float, Field(ge=0, le=64)] = Field(
        0.0, description="GPUs of each worker; 0.5 lets two workers share one"
    )
    deterministic: Literal["auto"] | bool = Field(
        "auto",
        description="whether workers train in rounds, so that suggestions repeat; auto is true for tasks on"
        " one machine",
    )
    precision: Precision = Field(
        USUAL.precision,
        description="of the arithmetic: float32 is the model's own, 16 bits are autocast",
    )
    weight_decay_on: DecayOn = Field(
        USUAL.weight_decay_on,
        description="which weights decay: matrices leaves out those of fewer than two dimensions",
    )
    accumulate: Count = Field(
        USUAL.accumulate, description="batches of every optimizer step, whose gradients are averaged"
    )


class Search(Frozen):
    """How the space is searched."""

    trials: Count = Field(64, description="the study's total, resumed runs included")
    timeout: Duration | None = Field(None, description="ends the search after so much time")
    trial_timeout: Duration | None = Field(
        None, description="ends a function or command after so much time; its trial has failed"
    )
    max_failures: Count = Field(
        10, description="ends the search where so many trials fail one after the other"
    )
    sampler: Sampler = Field("tpe", description="what suggests the settings of the next trial")
    pruner: Pruner = Field("none", description="what stops trials that look hopeless")
    seeds: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="training seeds per trial; the trial's value is their mean"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="all randomness derives from it")
    keep_curves: Literal["all"] | Count = Field(
        "all",
        description="how many trials keep the values of all their evaluations: the best; others keep few",
    )
    start: Start = Field("default", description="the first trials: the default, and known good settings")
    confirm: Confirm = Field(
        "auto", description="how many trainings on fresh seeds compare the best trials with the baseline"
    )
    ablate: Ablate = Field(
        "auto",
        description="whether a better trial is trained with each setting put back, to see what matters",
    )


class ObjectiveSection(Frozen):
    """The objective in a study file; the task decides what the file leaves out."""

    metric: str | None = Field(None, description="a metric that the task reports")
    direction: Direction | None = Field(None, description="by default the metric's good direction")


class Objective(Frozen):
    """The objective of a study: a metric that the task reports, and its good direction."""

    metric: str
    direction: Direction


class StudyFile(ScalarKeys):
    """Every key of a study file; sections, which are read on their own, may be of any type here."""

    task: Any = Field(description="a task's name, or a mapping of its name and settings")
    optimizer: Any = "adamw"
    space: Any = Field(DEFAULT_SPACE)
    search: Any = Field({})
    objective: Any = Field({})
    baseline: Any = "default"


class TaskChoice(Frozen):
    """The task of a study.

    Attributes:
        name: its name.
        settings: every setting that is not searched.
        given: the task itself where its name does not lead to it. It is not stored.
    """

    name: str
    settings: Mapping[str, Value]
    given: SkipValidation[TaskEntry | None] = Field(default=None, exclude=True, repr=False)

    @property
    def entry(self) -> TaskEntry | ProgramEntry:
        """The task itself, which is loaded if it is of a file or module.

        Raises:
            UsageError: it is not there, or is wrong.
        """
        entry = self.given or find_task(self.name)
        if entry is None:
            raise UsageError(f"there is no task {self.name}: install the package that has it")
        return entry

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """The known metrics that the task may report with these settings, and their good directions."""
        entry = self.entry
        return entry.metrics_with(self.settings) if isinstance(entry, TaskEntry) else entry.metrics


class CommandChoice(Frozen):
    """A command as the task of a study.

    Attributes:
        command: the command with its placeholders.
        metrics: the metrics that it reports, and their good directions.
        parameters: what the command gets, by name.
        folder: the folder in which it runs.
        settings: every setting that is not searched.
    """

    command: str
    metrics: Mapping[str, Direction]
    parameters: tuple[str, ...]
    folder: str
    settings: Mapping[str, Value]

    @property
    def name(self) -> str:
        """The name of every command."""
        return "command"

    @property
    def entry(self) -> ProgramEntry:
        """The command itself."""
        folder = Path(self.folder)
        return ProgramEntry("command", "the command", self.command, self.metrics, None, folder, self.command)


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
