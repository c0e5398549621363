"""Computes every member's coefficients for the next steps of a group, ahead of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

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
"""Steps of one lookahead. Its cost is mostly that of calling many small operations, whatever their length."""


@dataclass
class ActiveMember:
    """A member in training.

    Attributes:
        member: the member.
        step: optimizer steps taken.
        losses: the loss before each update since the last evaluation.
        skipped: steps without an update, because a scaled gradient was not finite.
    """

    member: Member
    step: int = 0
    losses: list[float] = field(default_factory=list)
    skipped: int = 0


@dataclass(frozen=True)
class Lookahead:
    """The coefficients of some members at their next steps.

    Attributes:
        members: the members, in the order of their rows.
        starts: the steps that each had taken when the lookahead was made.
        packed: coefficients ``[steps, members, fields]``; neutral past a member's last step.
        needed: the parts of the elementwise pass that some member needs at some step.
    """

    members: Sequence[Member]
    starts: Sequence[int]
    packed: Tensor
    needed: Terms

    def covers(self, active: Sequence[ActiveMember], steps: int) -> bool:
        """Whether the lookahead holds the next steps of a group.

        Args:
            active: the group's members.
            steps: how many steps they are about to take.

        Returns:
            Whether they are the lookahead's members in its order, all equally many steps past its start, and
            its steps suffice.
        """
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
    """The lookahead of the next ``AHEAD`` steps, fewer if all members finish before.

    Args:
        active: the members of a group, in the order of their rows.
        total: steps of a whole training.
        dtype: of the packed coefficients; they are computed in float64.
        device: where the packed coefficients go.
    """
    members, starts = [each.member for each in active], [each.step for each in active]
    steps = min(AHEAD, total - min(starts))
    step = torch.tensor(starts) + torch.arange(steps).unsqueeze(-1)
    # Rules and schedules are defined within a training alone: past its end, its last step's coefficients
    # are computed, and replaced below.
    updates = step - torch.tensor([each.skipped for each in active])
    coefficients = _coefficients(members, step.clamp(max=total - 1), updates.clamp(max=total - 1), total)
    # A member that finishes before the others waits for them: neutral coefficients leave its weights
    # unchanged.
    neutral = coefficients_like(step)
    unfinished = step < total
    kept = Coefficients(
        *(torch.where(unfinished, own, other) for own, other in zip(coefficients, neutral, strict=True))
    )
    return Lookahead(members, starts, pack(kept, dtype, device), terms(kept))


def _coefficients(members: Sequence[Member], step: Tensor, updates: Tensor, total: int) -> Coefficients:
    """Each member's coefficients after so many steps and updates, both int64 ``[steps, members]``."""
    lr = torch.tensor([member.hyperparameters["lr"] for member in members], dtype=torch.float64)
    factors = schedule_factors(
        [member.schedule for member in members],
        [member.schedule_hyperparameters for member in members],
        step,
        torch.full((len(members),), total),
    )
    limits = [inf if member.clip_norm is None else member.clip_norm for member in members]
    # Rules count updates from 1, as torch.optim does.
    coefficients = optimizer_coefficients(
        [member.optimizer for member in members],
        [member.hyperparameters for member in members],
        updates + 1,
        lr * factors,
    )
    return coefficients._replace(clip_norm=torch.tensor(limits, dtype=torch.float64).expand(step.shape))
