"""Half a cosine: ``torch.optim.lr_scheduler.CosineAnnealingLR``, T_max T, eta_min final_fraction lr."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from typing import TYPE_CHECKING, Any

from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, eta_min, scheduler

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 + cos(pi t / T)) / 2."""
    return half_cosine(step / total, values["final_fraction"])


def half_cosine(progress: Tensor, end: Tensor) -> Tensor:
    """From 1 at progress 0 to ``end`` at progress 1 along half a cosine."""
    return end + (1 - end) * (1 + (pi * progress).cos()) / 2


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """CosineAnnealingLR."""
    return scheduler("CosineAnnealingLR", f"T_max={total}", *eta_min(values, write))


COSINE = Schedule(
    name="cosine",
    summary="Half a cosine from the full lr to the final one",
    reference="torch CosineAnnealingLR",
    hyperparameters=(WARMUP, FINAL),
    factor=factor,
    code=code,
)
