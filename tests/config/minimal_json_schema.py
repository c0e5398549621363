"""The part of JSON Schema (draft 2020-12) that the study file's schema uses; other keywords are errors."""

from __future__ import annotations

import re
from typing import Any

ANNOTATIONS = {"$schema", "title", "description", "default"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    if "if" in schema and accepts(schema["if"], value) and not accepts(schema["then"], value):
        return False
    return all(holds(key, expected, value, schema) for key, expected in schema.items())


def holds(keyword: str, expected: Any, value: Any, schema: dict[str, Any]) -> bool:  # noqa: PLR0912
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match keyword:
        case "type":
            return isinstance(value, TYPES[expected]) and (
                expected == "boolean" or not isinstance(value, bool)
            )
        case "enum":
            return value in expected
        case "const":
            return bool(value == expected)
        case "anyOf":
            return any(accepts(each, value) for each in expected)
        case "allOf":
            return all(accepts(each, value) for each in expected)
        case "required":
            return not isinstance(value, dict) or value.keys() >= set(expected)
        case "properties":
            shared = expected.keys() & value.keys() if isinstance(value, dict) else ()
            return all(accepts(expected[key], value[key]) for key in shared)
        case "additionalProperties":
            assert expected is False
            return not isinstance(value, dict) or value.keys() <= schema["properties"].keys()
        case "items":
            return not isinstance(value, list) or all(accepts(expected, each) for each in value)
        case "uniqueItems":
            return not isinstance(value, list) or all(each not in value[:n] for n, each in enumerate(value))
        case "minItems":
            return not isinstance(value, list) or len(value) >= expected
        case "maxItems":
            return not isinstance(value, list) or len(value) <= expected
        case "minimum":
            return not is_number or value >= expected
        case "maximum":
            return not is_number or value <= expected
        case "exclusiveMinimum":
            return not is_number or value > expected
        case "exclusiveMaximum":
            return not is_number or value < expected
        case "minLength":
            return not isinstance(value, str) or len(value) >= expected
        case "pattern":
            return not isinstance(value, str) or re.search(expected, value) is not None
        case "if" | "then":
            return True  # judged by accepts
        case _:
            assert keyword in ANNOTATIONS, keyword
            return True
