"""A straight line: ``torch.optim.lr_scheduler.LinearLR`` from 1 to final_fraction in T iterations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """1 + (final_fraction - 1) t / T."""
    return 1 + (hyperparameters["final_fraction"] - 1) * step / total
