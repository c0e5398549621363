"""A trial's settings as Python code for a training script. Free of torch.

Numbers are rounded to four significant digits, a decay such as beta2 by its distance from 1 (0.99987, not
1.0), so the code trains nearly as the trial did. Numbers of steps are computed from the exact settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from adamtune.catalog import Hyperparameter
from adamtune.optimizers.registry import OPTIMIZERS, arguments
from adamtune.schedules.base import call, indented, number, scheduler
from adamtune.schedules.registry import SCHEDULES

SCHEDULER_IMPORT = "from torch.optim import lr_scheduler\n"
REMINDER = "# call scheduler.step() after every optimizer.step()"
EXACT = 17
"""Significant digits that give a float64 back to the last bit."""


def render(settings: Mapping[str, Any], total: int, digits: int = 4) -> str:
    """The code of the optimizer and, unless lr is constant, of its scheduler.

    Args:
        settings: those of a trial: ``optimizer``, ``schedule`` and the hyperparameters of both by catalog
            name. A missing hyperparameter has its default; other keys are ignored.
        total: optimizer steps of the training.
        digits: significant digits of every number.

    Returns:
        Lines that define ``optimizer`` (from ``model``) and ``scheduler``, ending in a newline.
    """
    optimizer, schedule = OPTIMIZERS[settings["optimizer"]], SCHEDULES[settings["schedule"]]
    # A trial of an older version may lack a hyperparameter that was added since.
    settings = optimizer.defaults | schedule.defaults | dict(settings)
    rounded = {
        each.name: round_value(each, settings[each.name], digits) for each in optimizer.hyperparameters
    }
    keywords = [f"{name}={_text(value)}" for name, value in arguments(optimizer.name, rounded).items()]
    module, name = optimizer.torch_class.split(":")
    standard = module == "torch.optim"
    # A class of torch.optim is written with its module; one of adamtune's own needs an import.
    imports = "import torch\n" if standard else f"from {module} import {name}\n"
    constructor = f"torch.optim.{name}" if standard else name
    made = f"optimizer = {call(constructor, 'model.parameters()', *keywords)}\n"
    expression = scheduler_code(schedule.name, settings, total, digits)
    if not expression:
        return f"{imports}\n{made}"
    return f"{imports}{SCHEDULER_IMPORT}\n{made}{REMINDER}\nscheduler = {expression}\n"


def scheduler_code(name: str, values: Mapping[str, Any], total: int, digits: int = 4) -> str:
    """The expression of a schedule's torch scheduler, including warmup; empty where lr is constant.

    Args:
        name: a name in ``SCHEDULES``.
        values: every hyperparameter of the schedule by name, and ``lr``.
        total: optimizer steps of the training.
        digits: significant digits of every number.
    """
    schedule = SCHEDULES[name]
    warmup = round(values["warmup_fraction"] * total) if "warmup_fraction" in schedule.defaults else 0
    remaining = total - warmup
    proper = schedule.code(values, remaining, partial(number, digits=digits)) if remaining else ""
    if not warmup:
        return proper
    # LinearLR counts from step 0, which has 1/warmup already, and would divide by 0 steps.
    rise = scheduler("LinearLR", f"start_factor=1 / {warmup}", f"total_iters={max(warmup - 1, 1)}")
    if not proper:
        return rise
    return scheduler("SequentialLR", f"[\n{indented([rise, proper])}]", f"milestones=[{warmup}]")


def round_value(hyperparameter: Hyperparameter, value: float, digits: int = 4) -> float:
    """``value`` to ``digits`` significant digits, those of its distance from 1 for a decay close to 1."""
    if hyperparameter.kind is not float:
        return hyperparameter.kind(value)  # type: ignore[no-any-return]
    # In float64, 1 - 0.99987 has noise in its last digits, which would be rounded along; a Decimal has none.
    if hyperparameter.complement and value > 0.5:
        return float(1 - Decimal(f"{Decimal(1) - Decimal(value):.{digits}g}"))
    return float(f"{value:.{digits}g}")


def _text(value: Any) -> str:
    return f"({', '.join(map(_text, value))})" if isinstance(value, tuple) else number(value, EXACT)
