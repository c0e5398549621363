"""What stops trials that look hopeless."""

from __future__ import annotations

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)

REDUCTION = 3
"""Of the trials that reach a rung, one in so many goes on (Li et al. 2018 recommend 3 or 4)."""


def pruner(name: str, evaluate_every: int, steps: int) -> BasePruner:
    """The pruner of a study file's name, for trainings of ``steps`` steps."""
    match name:
        case "none":
            return NopPruner()
        case "median":
            return MedianPruner(n_startup_trials=5, n_warmup_steps=evaluate_every)
        case "asha":
            return SuccessiveHalvingPruner(min_resource=evaluate_every, reduction_factor=REDUCTION)
        case "hyperband":
            return HyperbandPruner(
                min_resource=evaluate_every, max_resource=steps, reduction_factor=REDUCTION
            )
    raise ValueError(f"no pruner is named {name}")
