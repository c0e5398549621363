"""The same factor every step: ``torch.optim.lr_scheduler.ExponentialLR``, gamma final_fraction^(1/T)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.catalog import fraction
from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, scheduler

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """final_fraction^(t/T): final_fraction after the last step."""
    result: Tensor = values["final_fraction"] ** (step / total)
    return result


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """ExponentialLR."""
    return scheduler("ExponentialLR", f"gamma={write(values['final_fraction'])} ** (1 / {total})")


EXPONENTIAL = Schedule(
    name="exponential",
    summary="lr falls by the same factor every step",
    reference="torch ExponentialLR",
    # Not the 0 of other schedules, which no number of equal factors reaches.
    hyperparameters=(WARMUP, fraction(FINAL.name, 0.01, FINAL.summary, open_low=True)),
    factor=factor,
    code=code,
)
