"""The JSON Schema of the study file as people write it, for editors that complete and check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adamtune.catalog import Entry, Hyperparameter
from adamtune.config.hyperparameters import legal_type, writable
from adamtune.config.read import ObjectiveSection, Sections
from adamtune.config.study import Search
from adamtune.config.validation import adapter, not_null
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.base import TaskEntry
from adamtune.tasks.registry import TASKS

JsonSchema = dict[str, Any]


def schema() -> JsonSchema:
    """JSON Schema, draft 2020-12. It accepts every good file; what depends on several keys at
    once, such as a hyperparameter that the chosen optimizer lacks, only reading the file finds."""
    body = _model(Sections)
    body["properties"] |= {
        "task": _task(),
        "optimizer": _names(OPTIMIZERS),
        "space": _space(),
        "search": _model(Search),
        "objective": _model(ObjectiveSection),
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
    """A choice of ``value``, and a range if it is a number."""
    value = {key: each for key, each in not_null(value).items() if key not in ("default", "description")}
    if value.get("type") not in ("integer", "number"):
        return [_list(value)]
    span = _object({"low": value, "high": value, "log": {"type": "boolean"}}, required=["low", "high"])
    return [_list(value), span]


def _hyperparameters(catalog: Mapping[str, Entry]) -> JsonSchema:
    """Everything that may be written for any of the entries, with the widest legal range of each."""
    widest: dict[str, Hyperparameter] = {}
    for entry in catalog.values():
        for name, form in writable(entry).items():
            known = widest.get(name, form)
            wider_below = (form.low, form.open_low) < (known.low, known.open_low)
            wider_above = (form.high, not form.open_high) > (known.high, not known.open_high)
            widest[name] = form if wider_below or wider_above else known
    return {name: _hyperparameter(form) for name, form in widest.items()}


def _hyperparameter(form: Hyperparameter) -> JsonSchema:
    value = adapter(legal_type(form)).json_schema()
    return {"anyOf": [value, *_searched(value)], "description": form.summary}


def _space() -> JsonSchema:
    detailed = _object({"name": _names(SCHEDULES), **_hyperparameters(SCHEDULES)})
    forms = [*_names(SCHEDULES)["anyOf"], detailed]
    schedule = {"anyOf": forms, "description": "how lr changes over training"}
    task = {"type": "object", "description": "searched settings of the task"}
    return _object({**_hyperparameters(OPTIMIZERS), "schedule": schedule, "task": task})


def _task() -> JsonSchema:
    names = {"anyOf": [{"const": each.name, "description": each.summary} for each in TASKS.values()]}
    settings = {"type": "object", "properties": {"name": names}, "required": ["name"]}
    return {"anyOf": [names, settings], "description": "what to train: a name, or a mapping with settings"}


def _of_task(entry: TaskEntry) -> JsonSchema:
    """What holds where the file chooses this task: its settings, the searched ones, its metrics."""
    settings = _model(entry.settings)["properties"]
    free = {name: value for name, value in settings.items() if name not in entry.settings.DATA}
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
