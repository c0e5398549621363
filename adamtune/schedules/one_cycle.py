"""Up and down: ``torch.optim.lr_scheduler.OneCycleLR`` (two phases, cosine) with cycle_momentum off.

div_factor is 1 / initial_fraction, final_div_factor is initial_fraction / final_fraction, pct_start is
peak_fraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Hyperparameter, fraction
from adamtune.schedules.base import FINAL, Schedule, Write, scheduler
from adamtune.schedules.cosine import half_cosine

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Half a cosine up to 1 at step peak_fraction T - 1, then down to final_fraction at step T - 1.

    Where that peak is the first step, torch divides by zero; here the first factor is 1.
    """
    # torch counts the phases from 0, so the last step of the first is one earlier.
    peak = values["peak_fraction"] * total - 1
    up = half_cosine(1 - step / peak.where(peak > 0, 1.0), values["initial_fraction"])
    down = half_cosine((step - peak) / (total - 1 - peak), values["final_fraction"])
    return up.where((step <= peak) & (peak > 0), down)


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """OneCycleLR."""
    first, last, peak = write(values["initial_fraction"]), values["final_fraction"], values["peak_fraction"]
    if peak * total == 1:
        peak *= 0.999  # OneCycleLR divides by zero where the peak is exactly the first step
    return scheduler(
        "OneCycleLR",
        f"max_lr={write(values['lr'])}",
        f"total_steps={total}",
        f"pct_start={peak!r}",  # every digit: rounding could move the peak across a step
        f"div_factor=1 / {first}",
        f"final_div_factor={first} / {write(last)}" if last else 'final_div_factor=float("inf")',
        "cycle_momentum=False",
    )


ONE_CYCLE = Schedule(
    name="one_cycle",
    summary="Half a cosine up to the full lr, then half a cosine down",
    reference="Smith and Topin, arXiv:1708.07120; torch OneCycleLR",
    hyperparameters=(
        Hyperparameter(
            "peak_fraction",
            0.3,
            0.0,
            1.0,
            "part of the steps at which lr peaks",
            open_low=True,
            open_high=True,
        ),
        fraction("initial_fraction", 0.04, "first lr, as a fraction of the peak", open_low=True),
        fraction("final_fraction", 4e-6, FINAL.summary),
    ),
    factor=factor,
    code=code,
)
