"""Update rules and schedules for members that need not share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, cast

import torch
from torch import Tensor

from adamtune.optimizers.catalog import OPTIMIZERS, SCHEDULES
from adamtune.optimizers.coefficients import Coefficients, coefficients_like

Rule = Callable[[Mapping[str, Tensor], Tensor, Tensor], Coefficients]
"""(hyperparameters, step, lr) -> coefficients; see ``rules.adam.coefficients``."""
Schedule = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
"""(step, total, hyperparameters) -> factor of lr, without the warmup.

All are float64 (a quotient of integers would be float32); step 0 is the first after the warmup, and
total counts from there.
"""


def rule(name: str) -> Rule:
    """The update rule of a name in the optimizer catalog (KeyError if it is not there)."""
    return cast(Rule, import_module(f"adamtune.optimizers.rules.{OPTIMIZERS[name].name}").coefficients)


def schedule(name: str) -> Schedule:
    """The schedule of a name in the schedule catalog (KeyError if it is not there)."""
    return cast(Schedule, import_module(f"adamtune.optimizers.schedules.{SCHEDULES[name].name}").factor)


def coefficients(
    optimizers: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], step: Tensor, lr: Tensor
) -> Coefficients:
    """The coefficients of every member at every step of a stretch.

    Args:
        optimizers: each member's optimizer, a name in the catalog.
        hyperparameters: each member's hyperparameters, by catalog name, none missing.
        step: int64 ``[steps, members]``, 1 for the first update.
        lr: the scheduled learning rate, float64 ``[steps, members]``.
    """
    result = torch.stack(coefficients_like(step))
    for group in _groups(optimizers, hyperparameters, step.device):
        at = group.members
        values = rule(group.name)(group.hyperparameters, step[:, at], lr[:, at])
        result[:, :, at] = torch.stack(values)
    return Coefficients(*result)


def factors(
    schedules: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], step: Tensor, total: Tensor
) -> Tensor:
    """The factor on every member's lr at every step of a stretch, float64 ``[steps, members]``.

    Args:
        schedules: each member's schedule, a name in the catalog.
        hyperparameters: each member's schedule hyperparameters, by catalog name, none missing.
        step: int64 ``[steps, members]``, 0 for the first update.
        total: int64 ``[members]``, the steps of each member's whole training.
    """
    result = torch.empty(step.shape, dtype=torch.float64, device=step.device)
    for group in _groups(schedules, hyperparameters, step.device):
        at = group.members
        result[:, at] = factor(group.name, step[:, at], total[at], group.hyperparameters)
    return result


def factor(name: str, step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """The factor of one schedule: (t+1)/w for t < w = round(warmup_fraction total), then the schedule.

    The schedule proper counts from 0 at step w, and its T is the ``total - w`` steps that are left.
    That is torch's SequentialLR of LinearLR and the schedule's own class.

    Args:
        name: a name in the schedule catalog.
        step: int64, any shape that ends in members; 0 for the first update, below ``total``.
        total: int64 ``[members]``.
        hyperparameters: by catalog name, float64 ``[members]``.
    """
    warmup = warmup_steps(hyperparameters.get("warmup_fraction", torch.zeros_like(total)), total)
    after = (step - warmup).clamp(min=0).double()
    proper = schedule(name)(after, (total - warmup).clamp(min=1).double(), hyperparameters)
    return torch.where(step < warmup, (step + 1).double() / warmup.clamp(min=1), proper)


def warmup_steps(warmup_fraction: Tensor, total: Tensor) -> Tensor:
    """round(warmup_fraction * total), a half to the even number: int64 ``[members]``."""
    return (warmup_fraction * total).round().long()


class _Group(NamedTuple):
    name: str
    members: Tensor
    hyperparameters: dict[str, Tensor]


def _groups(
    names: Sequence[str], hyperparameters: Sequence[Mapping[str, float]], device: torch.device
) -> Iterator[_Group]:
    """The members of each name, with their hyperparameters as float64 vectors."""
    for name in dict.fromkeys(names):
        members = [index for index, each in enumerate(names) if each == name]
        columns = {
            key: torch.tensor([hyperparameters[i][key] for i in members], dtype=torch.float64, device=device)
            for key in hyperparameters[members[0]]
        }
        yield _Group(name, torch.tensor(members, device=device), columns)
