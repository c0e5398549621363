"""Numbers as people write them, with no significance lost: 3.1e-3, 0.9987, 0.05612."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from adamtune.optimizers.catalog import OPTIMIZERS, SCHEDULES

NEAR_ONE = frozenset(
    each.name
    for entry in (*OPTIMIZERS.values(), *SCHEDULES.values())
    for each in entry.hyperparameters
    if each.complement
)
"""Hyperparameters whose distance from one is what matters (0.9987 is not 0.999)."""


def rounded(number: float, digits: int = 4) -> str:
    """``digits`` significant digits, trailing zeros kept: 0.05610, 12.30, 1.200e-7."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    power = int(exponent)
    return f"{number:.{max(digits - 1 - power, 0)}f}" if -3 <= power < 5 else f"{mantissa}e{power}"


def significant(number: float, digits: int = 3) -> str:
    """``digits`` significant digits without trailing zeros: 0.0312, 3.1e-4, 1e-8."""
    mantissa, e, exponent = rounded(number, digits).partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + exponent


def near_one(number: float, digits: int) -> str:
    """A number in [0, 1], to ``digits`` significant digits of it or of its distance from one: 0.9987."""
    distance = min(number, 1 - number)
    if not 0 < distance < 1:
        return f"{number:g}"
    decimals = digits - 1 - math.floor(math.log10(distance))
    return f"{number:.{decimals}f}".rstrip("0").rstrip(".")


def setting(name: str, digits: int = 3) -> Callable[[Any], str]:
    """How the values of a setting are written."""
    real = near_one if name in NEAR_ONE else significant

    def write(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return real(value, digits)
        if isinstance(value, list | tuple):
            return ",".join(map(write, value))
        return str(value)

    return write


def seconds(value: float) -> str:
    """Seconds with three significant digits at most: 0.31, 12.3, 1234."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def clock(value: float) -> str:
    """A duration as a clock shows it: 0:05, 12:30, 1:02:03."""
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
