"""The full lr throughout: ``torch.optim.lr_scheduler.ConstantLR`` with factor 1."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """1."""
    return torch.ones(step.shape, dtype=torch.float64, device=step.device)
