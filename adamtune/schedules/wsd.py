"""Warmup-stable-decay; torch has no class for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Hyperparameter, fraction
from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, scheduler_of

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """1, then a straight line to final_fraction over the last round(decay_fraction T) steps.

    T counts the steps after the warmup, so that any two fractions fit together.
    """
    length = (values["decay_fraction"] * total).round()
    # A decay shorter than a step is none: the line would divide by zero.
    progress = (step - (total - length)).clamp(min=0) / length.clamp(min=1)
    return 1 - (1 - values["final_fraction"]) * progress


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """A formula; nothing where the decay is shorter than a step."""
    length = round(values["decay_fraction"] * total)
    return scheduler_of(f"min(1, max(0, {total} - t) / {length})", values, write) if length else ""


WSD = Schedule(
    name="wsd",
    summary="Warmup, then the full lr, then a straight line to the final one",
    reference="Hu et al., arXiv:2404.06395",
    hyperparameters=(
        Hyperparameter(WARMUP.name, 0.05, 0.0, 1.0, WARMUP.summary, open_high=True),
        FINAL,
        fraction("decay_fraction", 0.2, "part of the steps in which lr falls at the end"),
    ),
    factor=factor,
    code=code,
)
