"""Drops at evenly spaced steps: ``torch.optim.lr_scheduler.StepLR``, step_size ceil(T / (drops + 1))."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Hyperparameter, fraction
from adamtune.schedules.base import WARMUP, Schedule, Write, scheduler

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """drop_factor^floor(t / step_size)."""
    # Rounded up, so that there are no more drops than asked for.
    size = (total / (values["drops"] + 1)).ceil()
    result: Tensor = values["drop_factor"] ** (step / size).floor()
    return result


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """StepLR."""
    size = ceil(total / (values["drops"] + 1))
    return scheduler("StepLR", f"step_size={size}", f"gamma={write(values['drop_factor'])}")


STEP = Schedule(
    name="step",
    summary="lr is multiplied by drop_factor at evenly spaced steps",
    reference="torch StepLR",
    hyperparameters=(
        WARMUP,
        Hyperparameter("drops", 2, 1, 1000, "how many times lr drops"),
        fraction("drop_factor", 0.1, "what lr is multiplied by at each drop", open_low=True),
    ),
    factor=factor,
    code=code,
)
