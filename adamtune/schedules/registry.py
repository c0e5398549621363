"""The schedules by name, and their factors on lr with the warmup. Torch-free to import.

A module of this package that defines a :class:`~adamtune.schedules.base.Schedule` adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adamtune import schedules
from adamtune.catalog import discover
from adamtune.schedules.base import Schedule

if TYPE_CHECKING:
    from torch import Tensor

SCHEDULES: Mapping[str, Schedule] = discover(schedules.__name__, schedules.__path__, Schedule)


def lr_factor(name: str, step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """The factor on lr: (t+1)/w for t < w = round(warmup_fraction total), then the schedule's.

    The schedule proper counts from 0 at step w, and its T is the ``total - w`` steps that remain.
    That is torch's SequentialLR of LinearLR and the schedule's own class.

    Args:
        name: a name in ``SCHEDULES``.
        step: int64, of any shape that ends in members; 0 for the first update, below ``total``.
        total: int64 ``[members]``: steps of the whole training.
        values: every hyperparameter of the schedule, by name, float64 ``[members]``.
    """
    warmup = (values.get("warmup_fraction", total * 0.0) * total).round().long()
    # A warmup of all steps leaves none to the schedule, whose factor is not used then but must be finite.
    after = (step - warmup).clamp(min=0).double()
    proper = SCHEDULES[name].factor(after, (total - warmup).clamp(min=1).double(), values)
    return ((step + 1).double() / warmup.clamp(min=1)).where(step < warmup, proper)


def lr_factors(name: str, hyperparameters: Mapping[str, float], total: int) -> list[float]:
    """The factor on lr for each of the ``total`` updates of one training; index 0 is the first update."""
    import torch

    values = {key: torch.tensor([value], dtype=torch.float64) for key, value in hyperparameters.items()}
    steps = torch.arange(total).unsqueeze(-1)
    factors: list[float] = lr_factor(name, steps, torch.tensor([total]), values).squeeze(-1).tolist()
    return factors
