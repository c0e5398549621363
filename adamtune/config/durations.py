"""Durations as people write them, such as ``30m`` or ``1h30m``, in seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

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
