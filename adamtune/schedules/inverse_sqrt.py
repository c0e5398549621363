"""One over the root of the step; torch has no class for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.catalog import fraction
from adamtune.schedules.base import WARMUP, Schedule, Write, scheduler_of

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """1 / sqrt(1 + t / (timescale_fraction T)): 1 at the first step after the warmup."""
    return (1 + step / (values["timescale_fraction"] * total)).rsqrt()


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """A formula."""
    return scheduler_of(f"(1 + t / {write(values['timescale_fraction'] * total)}) ** -0.5", values, write)


INVERSE_SQRT = Schedule(
    name="inverse_sqrt",
    summary="lr falls as one over the root of the step",
    reference="Vaswani et al., arXiv:1706.03762",
    hyperparameters=(
        WARMUP,
        fraction(
            "timescale_fraction",
            0.1,
            "part of the steps after which lr has fallen to 1/sqrt(2)",
            open_low=True,
        ),
    ),
    factor=factor,
    code=code,
)
