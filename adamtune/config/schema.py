"""The JSON Schema of the study file as people write it, for editors that complete and check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamtune.catalog import NONE, TRAINING, Entry, Hyperparameter
from adamtune.config.baseline import NAMES
from adamtune.config.distributions import legal_type
from adamtune.config.keys import ObjectiveSection, Search, StudyFile
from adamtune.config.validation import adapter, not_null
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import Direction
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.registry import FORMS, TASKS, known_names

JsonSchema = dict[str, Any]


def schema() -> JsonSchema:
    """The JSON Schema (draft 2020-12) of study files.

    It accepts every legal file. Problems of several keys together, such as a hyperparameter that the chosen
    optimizer does not have, are found only when a file is read.
    """
    body = _model(StudyFile)
    body["properties"] |= {
        "task": _task(),
        "optimizer": _names(OPTIMIZERS),
        "space": _space(),
        "search": _model(Search),
        "objective": _model(ObjectiveSection),
        "baseline": _baseline(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **body,
        "title": "adamtune study file",
        "description": "What to tune, over which space, and how to search it.",
        "allOf": [_of_task(each) for each in TASKS.values()],
    }


def _model(model: type) -> JsonSchema:
    described = adapter(model).json_schema()
    for each in described["properties"].values():
        each.pop("title", None)
    described.pop("title")
    return described


def _object(properties: Mapping[str, object], **more: object) -> JsonSchema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}


def _list(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True}


def _names(catalog: Mapping[str, Entry]) -> JsonSchema:
    name = {"anyOf": [{"const": each.name, "description": each.summary} for each in catalog.values()]}
    return {"anyOf": [name, _list(name)], "description": "one name, or a list to search over"}


def _searched(value: JsonSchema) -> list[JsonSchema]:
    """The schemas of a list of values and, for numbers, of a range."""
    value = {key: each for key, each in not_null(value).items() if key not in ("default", "description")}
    if value.get("type") not in ("integer", "number"):
        return [_list(value)]
    span = _object({"low": value, "high": value, "log": {"type": "boolean"}}, required=["low", "high"])
    return [_list(value), span]


def _hyperparameters(catalog: Mapping[str, Entry]) -> JsonSchema:
    """Every hyperparameter of the entries, in every form, with the widest of its legal ranges."""
    widest: dict[str, Hyperparameter] = {}
    for entry in catalog.values():
        for name, form in entry.forms.items():
            known = widest.get(name, form)
            wider_below = (form.low, form.open_low) < (known.low, known.open_low)
            wider_above = (form.high, not form.open_high) > (known.high, not known.open_high)
            widest[name] = form if wider_below or wider_above else known
    return {name: _hyperparameter(form) for name, form in widest.items()}


def _hyperparameter(form: Hyperparameter) -> JsonSchema:
    value = adapter(legal_type(form)).json_schema()
    forms = [value, *_searched(value)]
    if form.optional:
        forms = [value, {"const": NONE}, _list({"anyOf": [value, {"const": NONE}]}), forms[-1]]
    return {"anyOf": forms, "description": form.summary}


def _space() -> JsonSchema:
    detailed = _object({"name": _names(SCHEDULES), **_hyperparameters(SCHEDULES)})
    forms = [*_names(SCHEDULES)["anyOf"], detailed]
    schedule = {"anyOf": forms, "description": "how lr changes over training"}
    task = {"type": "object", "description": "searched settings of the task"}
    own = {**_hyperparameters(OPTIMIZERS), **_hyperparameters({TRAINING.name: TRAINING})}
    return _object({**own, "schedule": schedule, "task": task})


def _baseline() -> JsonSchema:
    """The baseline: a name, or one optimizer and one schedule with values."""
    names = {"type": "string", "enum": list(NAMES)}
    values = {"optimizer": {"enum": list(OPTIMIZERS)}, **_values(OPTIMIZERS)}
    schedule = _object({"name": {"enum": list(SCHEDULES)}, **_values(SCHEDULES)})
    settings = _object({**values, "schedule": {"anyOf": [{"enum": list(SCHEDULES)}, schedule]}})
    return {"anyOf": [names, settings], "description": "what the best trial is compared with"}


def _values(catalog: Mapping[str, Entry]) -> JsonSchema:
    return {name: each["anyOf"][0] for name, each in _hyperparameters(catalog).items()}


def _task() -> JsonSchema:
    named = [{"const": each.name, "description": each.summary} for each in TASKS.values()]
    offered = [{"const": name} for name in known_names() if name not in TASKS]
    other = {"type": "string", "pattern": "[.:]", "description": FORMS}
    names = {"anyOf": [*named, *offered, other]}
    settings = {"type": "object", "properties": {"name": names}, "required": ["name"]}
    forms = [names, settings, _command()]
    return {"anyOf": forms, "description": "what to train: a name, or a mapping with settings"}


def _command() -> JsonSchema:
    """A command as the task; other keys are settings."""
    direction = adapter(Direction).json_schema()
    metrics = {
        "type": "object",
        "additionalProperties": direction,
        "minProperties": 1,
        "description": "the metrics that it reports, and their good directions",
    }
    parameters = {
        "type": "array",
        "items": {"type": "string"},
        "description": "what it gets beside its placeholders, in $ADAMTUNE_SETTINGS",
    }
    command = {"type": "string", "minLength": 1, "description": "such as python train.py --lr {lr}"}
    return {
        "type": "object",
        "properties": {"command": command, "metrics": metrics, "parameters": parameters},
        "required": ["command", "metrics"],
    }


def _of_task(entry: TaskEntry) -> JsonSchema:
    """The part that holds if the file chooses this task: its settings and metrics."""
    settings = _model(entry.settings)["properties"]
    free = {
        name: value for name, value in settings.items() if name not in (entry.settings.data_settings or ())
    }
    searched = {name: {"anyOf": _searched(value)} for name, value in free.items()}
    named = {"type": "object", "properties": {"name": {"const": entry.name}}}
    chosen = _object({"name": {"const": entry.name}, **settings})
    return {
        "if": {"properties": {"task": {"anyOf": [{"const": entry.name}, named]}}},
        "then": {
            "properties": {
                "task": {"anyOf": [{"const": entry.name}, chosen]},
                "space": {"properties": {"task": _object(searched)}},
                "objective": {"properties": {"metric": {"enum": list(entry.metrics)}}},
            }
        },
    }
