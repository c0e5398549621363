"""Durations such as ``30m`` or ``1h30m``, in seconds."""

from __future__ import annotations

import re
from math import inf
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from adamtune.config.numbers import DECIMAL, number_advice

UNITS = r"(?=[0-9.])([0-9.]+d)?([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?"
SECONDS = (86400, 3600, 60, 1)
EXAMPLES = "a duration such as 90s, 30m or 1h30m"
ALLOWED = f"a number of seconds above 0, or {EXAMPLES}"
PATTERN = rf"^\s*({DECIMAL}|{UNITS})\s*$"


def parse_duration(value: object) -> object:
    """The seconds of a text such as ``1h30m`` or ``90.5``.

    Args:
        value: any value of a study file.

    Returns:
        Seconds for a text; any other value as it is, for pydantic to check.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    total = float(text) if re.fullmatch(DECIMAL, text) else _sum_of_units(text)
    if not 0 < total < inf:
        advice = "" if re.fullmatch(DECIMAL, text) else number_advice(text)
        raise ValueError(f"found {value!r}{advice and f', {advice}'}; allowed: {ALLOWED}")
    return total


def _sum_of_units(text: str) -> float:
    match = re.fullmatch(UNITS, text)
    try:
        parts = [float(part[:-1]) if part else 0.0 for part in match.groups()] if match else []
    except ValueError:  # such as 1.2.3s
        return 0.0
    return sum(part * seconds for part, seconds in zip(parts, SECONDS, strict=False))


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
