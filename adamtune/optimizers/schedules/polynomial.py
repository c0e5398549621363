"""A power of the remaining time: ``torch.optim.lr_scheduler.PolynomialLR`` where final_fraction is 0."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 - t/T)^power."""
    final = hyperparameters["final_fraction"]
    return final + (1 - final) * (1 - step / total) ** hyperparameters["power"]
