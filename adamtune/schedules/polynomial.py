"""A power of the remaining time: ``torch.optim.lr_scheduler.PolynomialLR`` where final_fraction is 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamtune.catalog import Hyperparameter
from adamtune.schedules.base import FINAL, WARMUP, Schedule, Write, scheduler, scheduler_of

if TYPE_CHECKING:
    from torch import Tensor


def factor(step: Tensor, total: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """final_fraction + (1 - final_fraction) (1 - t/T)^power."""
    final = values["final_fraction"]
    return final + (1 - final) * (1 - step / total) ** values["power"]


def code(values: Mapping[str, Any], total: int, write: Write) -> str:
    """PolynomialLR, which ends at 0; a formula where the final lr is another."""
    power = write(values["power"])
    # PolynomialLR has no argument for the final lr.
    if values["final_fraction"] == 0:
        return scheduler("PolynomialLR", f"total_iters={total}", f"power={power}")
    return scheduler_of(f"max(0, 1 - t / {total}) ** {power}", values, write)


POLYNOMIAL = Schedule(
    name="polynomial",
    summary="(1 - t/T)^power from the full lr to the final one",
    reference="torch PolynomialLR",
    hyperparameters=(
        WARMUP,
        FINAL,
        Hyperparameter("power", 2.0, 0.0, 100.0, "exponent of the decay", open_low=True),
    ),
    factor=factor,
    code=code,
)
