"""Half cosines, each started at the full lr: ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``.

T_0 is the shortest that fits ``cycles`` cycles into the training, rounded up (the last cycle may be cut
short); T_mult is cycle_growth.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Hyperparameter
from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, eta_min, scheduler
from adamtune.schedules.cosine import half_cosine

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 + cos(pi t_cur / T_cur)) / 2 in the current cycle."""
    growth = values["cycle_growth"]
    first = (total / _length(values["cycles"], growth)).ceil().clamp(min=1)
    complete = _complete_cycles(step / first, growth)
    start = first * _length(complete, growth)
    return half_cosine((step - start) / (first * growth**complete), values["final_fraction"])


def _length(cycles: Tensor, growth: Tensor) -> Tensor:
    """The length of so many cycles in lengths of the first: 1 + growth + ... + growth^(cycles - 1)."""
    # At growth 1 the formula of the geometric series divides by zero.
    return ((growth**cycles - 1) / (growth - 1)).where(growth > 1, cycles)


def _complete_cycles(lengths: Tensor, growth: Tensor) -> Tensor:
    """How many cycles are complete after so many lengths of the first one.

    A logarithm just below a whole number is rounding: steps are too far apart to come that close.
    """
    grown = (lengths * (growth - 1) + 1).log() / growth.where(growth > 1, 2.0).log()
    return (grown + 1e-12).floor().where(growth > 1, lengths.floor())


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """CosineAnnealingWarmRestarts."""
    # A cycle has at least a step, so more cycles than steps are as many as steps.
    growth, cycles = values["cycle_growth"], min(values["cycles"], total)
    first = max(1, ceil(total / sum(growth**cycle for cycle in range(cycles))))
    settings = (f"T_0={first}", f"T_mult={growth}", *eta_min(values, write))
    return scheduler("CosineAnnealingWarmRestarts", *settings)


COSINE_RESTARTS = Schedule(
    name="cosine_restarts",
    summary="Half a cosine, started again cycles times",
    reference="Loshchilov and Hutter, arXiv:1608.03983; torch CosineAnnealingWarmRestarts",
    hyperparameters=(
        WARMUP,
        FINAL,
        Hyperparameter("cycles", 3, 1, 1000, "how many half cosines"),
        Hyperparameter("cycle_growth", 1, 1, 10, "how many times longer each cycle is than the one before"),
    ),
    factor=factor,
    code=code,
)
