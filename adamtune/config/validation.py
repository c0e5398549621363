"""Checks a part of the file with pydantic, and words what pydantic finds as all other problems are worded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from adamtune.config.aliases import illegal_value, unknown_key
from adamtune.config.numbers import BEYOND_FLOAT32, LARGEST_FLOAT32, OUT_OF_FLOAT32, number_advice
from adamtune.config.problems import KeyPath, Problems, show

T = TypeVar("T")
JsonSchema = Mapping[str, Any]


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a type, such as a model or an annotated number."""
    return TypeAdapter(kind)


def validate(kind: type[T], value: object, path: KeyPath, problems: Problems, note: str = "") -> T | None:
    """A part of the file as ``kind``.

    Args:
        kind: the type; text is no number and 1 is not true, but lists serve as tuples.
        value: the plain value of the part.
        path: the key path of the part.
        problems: receives the problems found.
        note: added to what messages say is allowed.

    Returns:
        The value, or None after problems are recorded.
    """
    checked, found = check(kind, value, note)
    for place, message in found:
        problems.add((*path, *place), message)
    return checked


def check(
    kind: type[T], value: object, note: str = "", folder: Path | None = None
) -> tuple[T | None, list[tuple[KeyPath, str]]]:
    """``validate`` for callers that place the problems themselves.

    Args:
        kind: as for ``validate``.
        value: as for ``validate``.
        note: as for ``validate``.
        folder: the folder that files named in the value are relative to.

    Returns:
        The value, or None if there are problems; and each problem's key path within ``value`` and message.
    """
    checker: TypeAdapter[T] = adapter(kind)  # type: ignore[arg-type]  # a type is hashable
    try:
        # JSON, because only there pydantic's strict mode takes a list for a tuple.
        return checker.validate_json(json.dumps(value, default=str), strict=True, context=folder), []
    except ValidationError as error:
        schema = checker.json_schema()
        found = [_problem(each, value, schema, note) for each in error.errors(include_url=False)]
        return None, list(dict.fromkeys(found))


def _problem(error: ErrorDetails, value: object, schema: JsonSchema, note: str) -> tuple[KeyPath, str]:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return loc, unknown_key("key", str(loc[-1]), _part(schema, loc[:-1])["properties"])
    if kind == "missing":
        return loc, f"is missing; allowed: {describe(_part(schema, loc))}"
    place = _place(loc, value)
    if kind == "value_error":
        return place, str(error["ctx"]["error"])
    for key in place:
        value = value[key]  # type: ignore[index]
    if kind == OUT_OF_FLOAT32:
        return place, f"found {show(value)}, {error['msg']}"
    return place, _wrong_type(value, _part(schema, place), note)


def _wrong_type(value: object, part: JsonSchema, note: str) -> str:
    types, names = set(_types(part)), _names(part)
    if isinstance(value, str) and types & {"number", "integer"} and (advice := number_advice(value)):
        return f"found {show(value)}, {advice}"
    if _is_unbounded(part) and isinstance(value, int | float) and value > LARGEST_FLOAT32:
        return f"found {show(value)}, {BEYOND_FLOAT32}"
    if isinstance(value, int | float) and types and types <= {"string", "null"} and not names:
        return f"found {show(value)}, which is not text; write {show(show(value))} in quotes"
    return illegal_value(value, describe(part) + note, names)


def _place(loc: KeyPath, value: Any) -> KeyPath:
    """The part of ``loc`` that lies in ``value``: pydantic appends which member of a union failed."""
    for depth, key in enumerate(loc):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return loc[:depth]
    return loc


def _part(schema: JsonSchema, place: KeyPath) -> JsonSchema:
    """The schema of one part. Models here are flat: no reference is to be resolved."""
    for key in place:
        branches = [schema, *schema.get("anyOf", ())]
        if isinstance(key, int):
            schema = next(each["items"] for each in branches if "items" in each)
        else:
            schema = next(each["properties"][key] for each in branches if "properties" in each)
    return schema


def not_null(schema: JsonSchema) -> JsonSchema:
    """The schema of an optional value when it is given; any other schema as it is."""
    members = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return members[0] if len(members) == 1 else schema


BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}


def describe(schema: JsonSchema) -> str:
    """What a JSON Schema allows, in a few words: ``(0, inf)``, ``integer in [1, 8]``, ``tpe, gp``."""
    if "anyOf" in schema:
        return " or ".join(describe(each) for each in schema["anyOf"])
    words: dict[str, Callable[[], str]] = {
        "number": lambda: _interval(schema) if BOUNDS & schema.keys() else "a number",
        "integer": lambda: f"integer in {_interval(schema)}" if BOUNDS & schema.keys() else "integer",
        "boolean": lambda: "true or false",
        "null": lambda: "null",
        "array": lambda: f"a list, each {describe(schema['items'])}{_length(schema)}",
        "object": lambda: f"a mapping of {', '.join(schema['properties'])}",
        "string": lambda: ", ".join(_names(schema)) or schema.get("description", "text"),
    }
    return words[schema["type"]]() if "type" in schema else str(schema.get("description", ""))


def _is_unbounded(schema: JsonSchema) -> bool:
    return schema.get("type") == "number" and not {"maximum", "exclusiveMaximum"} & schema.keys()


def _types(schema: JsonSchema) -> Iterator[str]:
    """The JSON types that a schema allows."""
    if "type" in schema:
        yield schema["type"]
    for each in schema.get("anyOf", ()):
        yield from _types(each)


def _names(schema: JsonSchema) -> list[str]:
    """The names that a schema allows; those of the booleans are among them."""
    booleans = ["true", "false"] if schema.get("type") == "boolean" else []
    own = schema.get("enum", [schema["const"]] if "const" in schema else booleans)
    return [*own, *(name for each in schema.get("anyOf", ()) for name in _names(each))]


def _interval(schema: JsonSchema) -> str:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    left = f"({schema['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in schema else f"[{low:.12g}"
    right = f"{schema['exclusiveMaximum']:.12g})" if "exclusiveMaximum" in schema else f"{high:.12g}]"
    return f"{left}, {right}".replace("[-inf", "(-inf").replace("inf]", "inf)")


def _length(schema: JsonSchema) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    return f", {low} to {high} of them" if high else f", {low} or more of them" if low else ""
