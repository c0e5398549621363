"""What the coming steps of a group do: every member's coefficients, computed ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adamtune.engines.base import Member
from adamtune.engines.population.coefficients import (
    Coefficients,
    Terms,
    coefficients_like,
    optimizer_coefficients,
    pack,
    schedule_factors,
    terms,
)

AHEAD = 512
"""Steps that are planned at once: their cost is mostly that of starting many small operations."""


@dataclass
class ActiveMember:
    """A member in training.

    Attributes:
        step: optimizer steps taken.
        losses: the loss before each update since the last evaluation.
    """

    member: Member
    step: int = 0
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Lookahead:
    """Some steps of some members.

    Attributes:
        members: whom it was made for, in order.
        starts: the steps that they had taken then.
        packed: coefficients ``[steps, members, fields]``; neutral past a member's last step.
        needed: the parts of the elementwise pass that some step of some member needs.
    """

    members: Sequence[Member]
    starts: Sequence[int]
    packed: Tensor
    needed: Terms

    def covers(self, active: Sequence[ActiveMember], steps: int) -> bool:
        """Whether these are its members, at one and the same of its steps, with ``steps`` more to go."""
        if len(active) != len(self.members):
            return False
        offset = active[0].step - self.starts[0]
        same = all(
            each.member is member and each.step - start == offset
            for each, member, start in zip(active, self.members, self.starts, strict=True)
        )
        return same and offset >= 0 and offset + steps <= len(self.packed)


def make_lookahead(
    active: Sequence[ActiveMember], total: int, dtype: torch.dtype, device: torch.device
) -> Lookahead:
    """The next ``AHEAD`` steps, or those that are left, of trainings of ``total`` steps."""
    members, starts = [each.member for each in active], [each.step for each in active]
    steps = min(AHEAD, total - min(starts))
    step = torch.tensor(starts) + torch.arange(steps).unsqueeze(-1)
    coefficients = _coefficients(members, step.clamp(max=total - 1), total)
    neutral = coefficients_like(step)
    left = step < total
    kept = Coefficients(
        *(torch.where(left, own, other) for own, other in zip(coefficients, neutral, strict=True))
    )
    return Lookahead(members, starts, pack(kept, dtype, device), terms(kept))


def _coefficients(members: Sequence[Member], step: Tensor, total: int) -> Coefficients:
    """Each member's coefficients for the updates from ``step [steps, members]``."""
    lr = torch.tensor([member.hyperparameters["lr"] for member in members], dtype=torch.float64)
    factors = schedule_factors(
        [member.schedule for member in members],
        [member.schedule_hyperparameters for member in members],
        step,
        torch.full((len(members),), total),
    )
    return optimizer_coefficients(
        [member.optimizer for member in members],
        [member.hyperparameters for member in members],
        step + 1,
        lr * factors,
    )
