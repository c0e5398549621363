"""Half a cosine: ``torch.optim.lr_scheduler.CosineAnnealingLR``, T_max T, eta_min final_fraction lr."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 + cos(pi t / T)) / 2."""
    return half_cosine(step / total, hyperparameters["final_fraction"])


def half_cosine(progress: Tensor, end: Tensor) -> Tensor:
    """From 1 at progress 0 to ``end`` at progress 1 along half a cosine."""
    return end + (1 - end) * (1 + (torch.pi * progress).cos()) / 2
