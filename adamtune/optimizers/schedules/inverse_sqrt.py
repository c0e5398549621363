"""One over the root of the step, after Vaswani et al., arXiv:1706.03762; torch has no class for it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """1 / sqrt(1 + t / (timescale_fraction T)): 1 at the first step after the warmup."""
    return (1 + step / (hyperparameters["timescale_fraction"] * total)).rsqrt()
