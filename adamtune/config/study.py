"""A study, read and resolved: every default filled in, nothing left to look up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from adamtune.config.distributions import Frozen, Value
from adamtune.config.durations import Duration
from adamtune.config.space import Space
from adamtune.errors import AdamtuneError
from adamtune.tasks.catalog import Direction

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


class Study(Head):
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
        """The trials of the finished study: as many as asked for, or as its grid has combinations."""
        asked = self.search.trials
        return min(asked, self.space.combinations) if self.search.sampler == "grid" else asked

    def canonical(self) -> dict[str, Any]:
        """The whole study as plain JSON values; the order of keys is part of it."""
        return self.model_dump(mode="json")

    @classmethod
    def from_canonical(cls, canonical: Mapping[str, Any], text: str = "") -> Study:
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
