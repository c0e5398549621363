"""What describes a schedule, and how its torch scheduler is written as code. Torch-free."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Entry, Hyperparameter, fraction

if TYPE_CHECKING:
    from torch import Tensor

Write = Callable[[float], str]
"""A number as code; how many digits it keeps is up to the caller."""


@dataclass(frozen=True)
class Schedule(Entry):
    """A learning-rate schedule: the factor on lr, and the torch scheduler that gives the same.

    Both leave the warmup out: step 0 is the first step after it, and ``total`` counts from there.

    Attributes:
        factor: ``(step, total, values)`` to the factor on lr in [0, 1]. All are float64; step and total
            broadcast, values are ``[members]``, and so ends the result's shape.
        code: ``(values, total, write)`` to a Python expression that makes the scheduler of ``optimizer``;
            empty where none is needed. ``values`` has ``lr``, too.
    """

    factor: Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
    code: Callable[[Mapping[str, Any], int, Write], str]


WARMUP = Hyperparameter(
    "warmup_fraction",
    0.0,
    0.0,
    1.0,
    "part of the steps in which lr grows linearly to its full value",
    open_high=True,
)
FINAL = fraction("final_fraction", 0.0, "lr after the last step, as a fraction of its full value")


def number(value: float, digits: int = 4) -> str:
    """A number as people write it, to so many significant digits: 1e-8 instead of 1e-08."""
    # repr of a float has the fewest digits that give it back, but writes exponents with two digits.
    shown = value if isinstance(value, int) else float(f"{value:.{digits}g}")
    return re.sub(r"e([+-])0*(\d)", lambda found: f"e{found[1].strip('+')}{found[2]}", repr(shown))


def call(function: str, *arguments: str) -> str:
    """A call on one line, or with an argument on each line where that would be long."""
    line = f"{function}({', '.join(arguments)})"
    # 70: the code is pasted into a function, indented, and stays within most line lengths.
    if len(line) <= 70 and "\n" not in line:
        return line
    return f"{function}(\n{indented(arguments)})"


def indented(items: Sequence[str]) -> str:
    """Lines of a call's or list's items."""
    return textwrap.indent("".join(f"{each},\n" for each in items), "    ")


def scheduler(name: str, *arguments: str) -> str:
    """A class of ``torch.optim.lr_scheduler`` for ``optimizer``."""
    return call(f"lr_scheduler.{name}", "optimizer", *arguments)


def scheduler_of(expression: str, values: Mapping[str, Any], write: Write) -> str:
    """A LambdaLR that is 1 where ``expression`` of the step ``t`` is 1 and final_fraction where it is 0."""
    final = values.get("final_fraction", 0)
    scaled = f"{write(final)} + {write(1 - final)} * {expression}" if final else expression
    return scheduler("LambdaLR", f"lambda t: {scaled}")


def eta_min(values: Mapping[str, Any], write: Write) -> list[str]:
    """The argument ``eta_min`` of a scheduler, where the final lr is not 0."""
    # 0 is torch's default.
    final = values["final_fraction"] * values["lr"]
    return [f"eta_min={write(final)}"] if final else []
