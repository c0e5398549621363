"""Up and down: ``torch.optim.lr_scheduler.OneCycleLR`` (two phases, cosine) with cycle_momentum off.

Smith and Topin, arXiv:1708.07120. div_factor is 1 / initial_fraction, final_div_factor is
initial_fraction / final_fraction, pct_start is peak_fraction.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.optimizers.schedules.cosine import half_cosine


def factor(step: Tensor, total: Tensor, hyperparameters: Mapping[str, Tensor]) -> Tensor:
    """Half a cosine up to 1 at step peak_fraction T - 1, then down to final_fraction at step T - 1.

    Where that peak is the first step, torch divides by zero; here the first factor is 1.
    """
    peak = hyperparameters["peak_fraction"] * total - 1
    up = half_cosine(1 - step / torch.where(peak > 0, peak, 1), hyperparameters["initial_fraction"])
    down = half_cosine((step - peak) / (total - 1 - peak), hyperparameters["final_fraction"])
    return torch.where((step <= peak) & (peak > 0), up, down)
