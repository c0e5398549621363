"""The same factor every step: ``torch.optim.lr_scheduler.ExponentialLR``, gamma final_fraction^(1/T)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """final_fraction^(t/T): final_fraction after the last step."""
    result: Tensor = hyperparameters["final_fraction"] ** (step / total)
    return result
