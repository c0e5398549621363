"""Drops at evenly spaced steps: ``torch.optim.lr_scheduler.StepLR``, step_size ceil(T / (drops + 1))."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """drop_factor^floor(t / step_size)."""
    size = (total / (hyperparameters["drops"] + 1)).ceil()
    result: Tensor = hyperparameters["drop_factor"] ** (step / size).floor()
    return result
