"""The numbers of study files: their notation, and the bounds of float32, the precision of all training."""

from __future__ import annotations

import re

import yaml
from pydantic_core import PydanticCustomError

DECIMAL = r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
"""A number as study files write it: decimal, with neither a leading zero nor separators."""

LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
LEAST_FLOAT32 = 2.0**-149
BEYOND_FLOAT32 = "which is beyond float32, the precision of all training; write at most 3.4e38"
ZERO_IN_FLOAT32 = "which is 0 in float32, the precision of all training; write at least 1e-45"
OUT_OF_FLOAT32 = "out_of_float32"
"""The type of the pydantic error of a number that float32 cannot hold."""


class NumberLiteral(float):
    """A number with its text in the file: ``1e400`` is infinite in float64, and is shown as written."""

    text: str

    def __new__(cls, value: float, text: str) -> NumberLiteral:
        """Pairs a float64 value with the text that it was read from."""
        number = super().__new__(cls, value)
        number.text = text
        return number


def read_number(text: str) -> object:
    """The number that a text is in a study file, or the text if it is none."""
    stripped = text.strip()
    if not re.fullmatch(DECIMAL, stripped):
        return text
    try:
        return int(stripped)
    except ValueError:  # not an integer, or one of more digits than Python reads
        return NumberLiteral(float(stripped), stripped)


def number_advice(text: str) -> str:
    """What YAML makes of a text that is meant to be a number, and what to write; empty for any other text."""
    text = text.strip()
    if re.fullmatch(DECIMAL, text):
        return f"which is text; write {text} without quotes"
    version = "1.2" if re.fullmatch("[-+]?0o[0-7]+", text) else "1.1"
    try:
        value = int(text, 8) if version == "1.2" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    decimal = re.sub("^([-+]?)0+(?=[0-9])", r"\1", text.replace("_", ""))
    decimal = decimal if re.fullmatch(DECIMAL, decimal) else ""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_FLOAT32:
        other = f" or {decimal}" if decimal and float(decimal) != value else ""
        return f"which YAML {version} reads as {value}; write {value}{other}"
    return f"which is text; write {decimal}" if decimal else ""


def check_float32(value: float) -> float:
    """``value``, if it is finite in float32."""
    if value > LARGEST_FLOAT32:
        raise PydanticCustomError(OUT_OF_FLOAT32, BEYOND_FLOAT32)
    return value


def check_positive_float32(value: float) -> float:
    """``value``, if it is finite and above 0 in float32."""
    if value <= LEAST_FLOAT32 / 2:  # which is rounded to 0
        raise PydanticCustomError(OUT_OF_FLOAT32, ZERO_IN_FLOAT32)
    return check_float32(value)
