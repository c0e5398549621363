"""The loss scales of a group's members, with the rule of ``torch.amp.GradScaler`` for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

INITIAL, GROWTH, BACKOFF, INTERVAL = 65536.0, 2.0, 0.5, 2000
"""The defaults of ``torch.amp.GradScaler``."""


class LossScaling(NamedTuple):
    """Each member's loss scale, and its updates since the scale has changed; both real, ``[members]``.

    Scales are powers of two, so that multiplying by one and dividing by it rounds nothing.
    """

    scale: Tensor
    updates: Tensor

    @classmethod
    def rows(cls, count: int, dtype: torch.dtype, device: torch.device) -> LossScaling:
        """The loss scales of so many new members."""
        scale = torch.full((count,), INITIAL, dtype=dtype, device=device)
        return cls(scale, torch.zeros_like(scale))

    def clear(self, row: int) -> None:
        """Begins a new member in a row."""
        self.scale[row], self.updates[row] = INITIAL, 0

    def update(self, gradients: Sequence[Tensor]) -> Tensor:
        """Changes the scales after the gradients of a step, each ``[members, n]``.

        Returns:
            The factor that takes the scale out of a member's gradients; -1 where one of them is not finite,
            so that the member skips the step.
        """
        finite = torch.stack([each.isfinite().all(1) for each in gradients]).all(0)
        factor = torch.where(finite, 1 / self.scale, -1.0)
        updates = torch.where(finite, self.updates + 1, 0.0)
        grows, larger = updates == INTERVAL, self.scale * GROWTH
        grown = torch.where(grows & larger.isfinite(), larger, self.scale)
        self.scale.copy_(torch.where(finite, grown, self.scale * BACKOFF))
        self.updates.copy_(torch.where(grows, 0.0, updates))
        return factor
