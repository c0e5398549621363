"""Pydantic's verdict on a part of the file, in this project's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from adamtune.config.problems import KeyPath, Problems, found, unknown

T = TypeVar("T")
JsonSchema = Mapping[str, Any]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a type, such as a model or an annotated number."""
    return TypeAdapter(kind)


def validate(kind: type[T], value: object, path: KeyPath, problems: Problems, note: str = "") -> T | None:
    """``value`` as ``kind``, or None after the problems with it are recorded.

    Text is no number and 1 is not true, but lists serve as tuples: pydantic's strict mode for JSON.
    ``note`` is added to what a message says is allowed.
    """
    checked, complaints = judge(kind, value, note)
    for place, message in complaints:
        problems.add((*path, *place), message)
    return checked


def judge(kind: type[T], value: object, note: str = "") -> tuple[T | None, list[tuple[KeyPath, str]]]:
    """``value`` as ``kind``, and the place in it and the message of every problem."""
    checker: TypeAdapter[T] = adapter(kind)  # type: ignore[arg-type]  # a type is hashable
    try:
        return checker.validate_json(json.dumps(value, default=str), strict=True), []
    except ValidationError as error:
        schema = checker.json_schema()
        complaints = [_complaint(each, value, schema, note) for each in error.errors(include_url=False)]
        return None, list(dict.fromkeys(complaints))


def _complaint(error: ErrorDetails, value: object, schema: JsonSchema, note: str) -> tuple[KeyPath, str]:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return loc, unknown("key", str(loc[-1]), _part(schema, loc[:-1])["properties"])
    if kind == "missing":
        return loc, f"is missing; allowed: {describe(_part(schema, loc))}"
    place = _place(loc, value)
    if kind == "value_error":
        return place, str(error["ctx"]["error"])
    part = _part(schema, place)
    return place, found(_at(value, place), describe(part) + note, _names(part))


def _place(loc: KeyPath, value: Any) -> KeyPath:
    """The part of ``loc`` that lies in ``value``: pydantic appends which member of a union failed."""
    for depth, key in enumerate(loc):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return loc[:depth]
    return loc


def _at(value: Any, place: KeyPath) -> object:
    for key in place:
        value = value[key]
    return value


def _part(schema: JsonSchema, place: KeyPath) -> JsonSchema:
    """The schema of one part. Models here are flat, so there is nothing to resolve."""
    for key in place:
        branches = [schema, *schema.get("anyOf", ())]
        if isinstance(key, int):
            schema = next(each["items"] for each in branches if "items" in each)
        else:
            schema = next(each["properties"][key] for each in branches if "properties" in each)
    return schema


def not_null(schema: JsonSchema) -> JsonSchema:
    """What an optional value is when it is given."""
    members = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return members[0] if len(members) == 1 else schema


def describe(schema: JsonSchema) -> str:
    """What a JSON Schema allows, in a few words: ``(0, inf)``, ``integer in [1, 8]``, ``tpe, gp``."""
    if "anyOf" in schema:
        return " or ".join(describe(each) for each in schema["anyOf"])
    words: dict[str, Callable[[], str]] = {
        "number": lambda: _interval(schema),
        "integer": lambda: f"integer in {_interval(schema)}",
        "boolean": lambda: "true or false",
        "null": lambda: "null",
        "array": lambda: f"a list, each {describe(schema['items'])}{_length(schema)}",
        "object": lambda: f"a mapping of {', '.join(schema['properties'])}",
        "string": lambda: ", ".join(_names(schema)) or schema.get("description", "text"),
    }
    return words[schema["type"]]() if "type" in schema else str(schema.get("description", ""))


def _names(schema: JsonSchema) -> list[str]:
    """Every name that a schema allows."""
    own = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [*own, *(name for each in schema.get("anyOf", ()) for name in _names(each))]


def _interval(schema: JsonSchema) -> str:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    left = f"({schema['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in schema else f"[{low:.12g}"
    right = f"{schema['exclusiveMaximum']:.12g})" if "exclusiveMaximum" in schema else f"{high:.12g}]"
    return f"{left}, {right}".replace("[-inf", "(-inf").replace("inf]", "inf)")


def _length(schema: JsonSchema) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    return f", {low} to {high} of them" if high else f", {low} or more of them" if low else ""
