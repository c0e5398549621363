"""A straight line: ``torch.optim.lr_scheduler.LinearLR`` from 1 to final_fraction in T iterations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, scheduler

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """1 + (final_fraction - 1) t / T."""
    return 1 + (values["final_fraction"] - 1) * step / total


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """LinearLR."""
    end = write(values["final_fraction"])
    return scheduler("LinearLR", "start_factor=1.0", f"end_factor={end}", f"total_iters={total}")


LINEAR = Schedule(
    name="linear",
    summary="A straight line from the full lr to the final one",
    reference="torch LinearLR",
    hyperparameters=(WARMUP, FINAL),
    factor=factor,
    code=code,
)
