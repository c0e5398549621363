"""The full lr throughout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.schedules.base import WARMUP, Schedule, Write

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """1."""
    return step * 0 + 1


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """No scheduler."""
    return ""


CONSTANT = Schedule(
    name="constant",
    summary="The full lr throughout",
    reference="torch ConstantLR, factor 1",
    hyperparameters=(WARMUP,),
    factor=factor,
    code=code,
)
