"""Half cosines, each started at the full lr: ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``.

Loshchilov and Hutter, arXiv:1608.03983. T_0 is the shortest that fits ``cycles`` cycles into the
training, rounded up (the last cycle may be cut short); T_mult is cycle_growth.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.schedules.cosine import half_cosine


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 + cos(pi t_cur / T_cur)) / 2 in the current cycle."""
    growth = hyperparameters["cycle_growth"]
    first = first_cycle(total, hyperparameters["cycles"], growth)
    finished = _units(step / first, growth)
    start = first * _sum(finished, growth)
    return half_cosine((step - start) / (first * growth**finished), hyperparameters["final_fraction"])


def first_cycle(total: Tensor, cycles: Tensor, growth: Tensor) -> Tensor:
    """T_0, at least 1: ceil(T / (1 + growth + ... + growth^(cycles - 1)))."""
    return (total / _sum(cycles, growth)).ceil().clamp(min=1)


def _sum(cycles: Tensor, growth: Tensor) -> Tensor:
    """1 + growth + ... + growth^(cycles - 1)."""
    return torch.where(growth > 1, (growth**cycles - 1) / (growth - 1), cycles)


def _units(firsts: Tensor, growth: Tensor) -> Tensor:
    """How many cycles are over after ``firsts`` lengths of the first one.

    A logarithm just below a whole number is rounding: steps are too far apart to come that close.
    """
    grown = (firsts * (growth - 1) + 1).log() / torch.where(growth > 1, growth, 2.0).log()
    return torch.where(growth > 1, (grown + 1e-12).floor(), firsts.floor())
