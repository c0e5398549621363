"""Warmup-stable-decay: Hu et al., arXiv:2404.06395; torch has no class for it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """1, then a straight line to final_fraction over the last round(decay_fraction T) steps.

    T counts the steps after the warmup, so that any two fractions fit together.
    """
    length = (hyperparameters["decay_fraction"] * total).round()
    progress = (step - (total - length)).clamp(min=0) / length.clamp(min=1)
    return 1 - (1 - hyperparameters["final_fraction"]) * progress
