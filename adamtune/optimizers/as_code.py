"""A trial's settings as Python code that people paste into their training script. Torch-free.

Numbers are rounded to four significant digits, so the code is very nearly what was trained. A decay
such as beta2 close to 1 is rounded by its distance from 1 (0.99987, not 1.0). Counts of steps come
from the exact settings.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import ceil
from typing import Any

from adamtune.optimizers.arguments import CLASSES, arguments
from adamtune.optimizers.catalog import OPTIMIZERS, SCHEDULES, Hyperparameter

SCHEDULER_IMPORT = "from torch.optim import lr_scheduler\n"
REMINDER = "# call scheduler.step() after every optimizer.step()"


def render(settings: Mapping[str, Any], total: int) -> str:
    """The optimizer and, unless lr is constant, its scheduler for a training of ``total`` steps.

    Args:
        settings: flat, as kept with a trial: ``optimizer``, ``schedule`` and the hyperparameters of
            both by catalog name, at its default if it is missing; anything else in it is left alone.
        total: optimizer steps of the training.

    Returns:
        Lines that define ``optimizer`` (from ``model``) and ``scheduler``, ending in a newline.
    """
    optimizer, schedule = settings["optimizer"], settings["schedule"]
    settings = OPTIMIZERS[optimizer].defaults | SCHEDULES[schedule].defaults | dict(settings)
    values = {
        each.name: rounded(each, settings[each.name])
        for each in (*OPTIMIZERS[optimizer].hyperparameters, *SCHEDULES[schedule].hyperparameters)
    }
    keywords = [f"{name}={_text(value)}" for name, value in arguments(optimizer, values).items()]
    module, name = CLASSES[optimizer].split(":")
    standard = module == "torch.optim"
    imports = "import torch\n" if standard else f"from {module} import {name}\n"
    constructor = f"torch.optim.{name}" if standard else name
    made = f"optimizer = {_call(constructor, 'model.parameters()', *keywords)}\n"
    scheduler = _scheduler(schedule, settings, values, total)
    if not scheduler:
        return f"{imports}\n{made}"
    return f"{imports}{SCHEDULER_IMPORT}\n{made}{REMINDER}\nscheduler = {scheduler}\n"


def rounded(hyperparameter: Hyperparameter, value: float) -> float:
    """``value`` to four significant digits, of its distance from 1 where that is what matters."""
    if hyperparameter.kind is not float:
        return hyperparameter.kind(value)  # type: ignore[no-any-return]
    if hyperparameter.complement and value > 0.5:
        return float(1 - Decimal(f"{Decimal(1) - Decimal(value):.4g}"))
    return float(f"{value:.4g}")


def _text(value: Any) -> str:
    """A value as people write it: 1e-8 instead of 1e-08."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return re.sub(r"e([+-])0*(\d)", lambda found: f"e{found[1].strip('+')}{found[2]}", repr(value))


def _call(function: str, *arguments: str) -> str:
    """A call on one line, or an argument a line where that would be long."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= 70 and "\n" not in line:
        return line
    return f"{function}(\n{_indented(arguments)})"


def _indented(items: Sequence[str]) -> str:
    return textwrap.indent("".join(f"{each},\n" for each in items), "    ")


def _class(name: str, *arguments: str) -> str:
    return _call(f"lr_scheduler.{name}", "optimizer", *arguments)


def _scheduler(schedule: str, settings: Mapping[str, Any], values: Mapping[str, float], total: int) -> str:
    """The expression for the scheduler; empty where lr is constant."""
    warmup = round(settings.get("warmup_fraction", 0.0) * total) if "warmup_fraction" in values else 0
    rise = _class("LinearLR", f"start_factor=1 / {warmup}", f"total_iters={max(warmup - 1, 1)}")
    left = total - warmup
    proper = PROPER[schedule](settings, values, left) if left else ""
    if not warmup:
        return proper
    if not proper:
        return rise
    return _class("SequentialLR", f"[\n{_indented([rise, proper])}]", f"milestones=[{warmup}]")


Values = Mapping[str, Any]


def _constant(settings: Values, values: Values, total: int) -> str:
    return ""


def _exponential(settings: Values, values: Values, total: int) -> str:
    return _class("ExponentialLR", f"gamma={_text(values['final_fraction'])} ** (1 / {total})")


def _step(settings: Values, values: Values, total: int) -> str:
    size = ceil(total / (values["drops"] + 1))
    return _class("StepLR", f"step_size={size}", f"gamma={_text(values['drop_factor'])}")


def _cosine(settings: Values, values: Values, total: int) -> str:
    return _class("CosineAnnealingLR", f"T_max={total}", *_eta_min(settings, values))


def _linear(settings: Values, values: Values, total: int) -> str:
    end = _text(values["final_fraction"])
    return _class("LinearLR", "start_factor=1.0", f"end_factor={end}", f"total_iters={total}")


def _polynomial(settings: Values, values: Values, total: int) -> str:
    power = _text(values["power"])
    if values["final_fraction"] == 0:
        return _class("PolynomialLR", f"total_iters={total}", f"power={power}")
    return _lambda(_between(f"max(0, 1 - t / {total}) ** {power}", values))


def _inverse_sqrt(settings: Values, values: Values, total: int) -> str:
    timescale = float(f"{settings['timescale_fraction'] * total:.4g}")
    return _lambda(f"(1 + t / {_text(timescale)}) ** -0.5")


def _one_cycle(settings: Values, values: Values, total: int) -> str:
    first, last, peak = values["initial_fraction"], values["final_fraction"], values["peak_fraction"]
    if peak * total == 1:
        peak *= 0.999  # OneCycleLR divides by zero where the peak is exactly the first step
    return _class(
        "OneCycleLR",
        f"max_lr={_text(values['lr'])}",
        f"total_steps={total}",
        f"pct_start={_text(peak)}",
        f"div_factor=1 / {_text(first)}",
        f"final_div_factor={_text(first)} / {_text(last)}" if last else 'final_div_factor=float("inf")',
        "cycle_momentum=False",
    )


def _wsd(settings: Values, values: Values, total: int) -> str:
    length = round(settings["decay_fraction"] * total)
    if not length:
        return ""
    return _lambda(_between(f"min(1, max(0, {total} - t) / {length})", values))


def _cosine_restarts(settings: Values, values: Values, total: int) -> str:
    growth = values["cycle_growth"]
    first = max(1, ceil(total / sum(growth**cycle for cycle in range(min(values["cycles"], total)))))
    return _class(
        "CosineAnnealingWarmRestarts", f"T_0={first}", f"T_mult={growth}", *_eta_min(settings, values)
    )


def _eta_min(settings: Values, values: Values) -> list[str]:
    final = float(f"{settings['final_fraction'] * settings['lr']:.4g}")
    return [f"eta_min={_text(final)}"] if final else []


def _between(share: str, values: Values) -> str:
    """``share`` of the way from final_fraction up to 1."""
    final = values["final_fraction"]
    return f"{_text(final)} + {_text(float(f'{1 - final:.4g}'))} * {share}" if final else share


def _lambda(expression: str) -> str:
    return _class("LambdaLR", f"lambda t: {expression}")


PROPER: Mapping[str, Callable[[Values, Values, int], str]] = {
    "constant": _constant,
    "exponential": _exponential,
    "step": _step,
    "cosine": _cosine,
    "linear": _linear,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "one_cycle": _one_cycle,
    "wsd": _wsd,
    "cosine_restarts": _cosine_restarts,
}
