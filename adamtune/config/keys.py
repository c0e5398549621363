"""The keys of a study file: their types, ranges, defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from adamtune.config.duration import Duration
from adamtune.config.space import Frozen
from adamtune.recipe import USUAL, DecayOn, Precision
from adamtune.tasks.base import Direction

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


class StudyFile(ScalarKeys):
    """Every key of a study file; sections, which are read on their own, may be of any type here."""

    task: Any = Field(description="a task's name, or a mapping of its name and settings")
    optimizer: Any = "adamw"
    space: Any = Field(DEFAULT_SPACE)
    search: Any = Field({})
    objective: Any = Field({})
    baseline: Any = "default"
