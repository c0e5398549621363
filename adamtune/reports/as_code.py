"""A trial's settings as Python code for a training script. Free of torch.

Numbers are rounded to four significant digits, a decay such as beta2 by its distance from 1 (0.99987, not
1.0), so the code trains nearly as the trial did. Numbers of steps are computed from the exact settings.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from adamtune.catalog import NONE, TRAINING, Hyperparameter
from adamtune.optimizers.registry import OPTIMIZERS, arguments
from adamtune.recipe import USUAL, Recipe
from adamtune.schedules.base import call, indented, number, scheduler
from adamtune.schedules.registry import SCHEDULES

if TYPE_CHECKING:
    from adamtune.analysis.ranking import Ranking

REMINDER = "# call scheduler.step() after every optimizer.step()\n"
DOUBLE = "# weights and data are float64: model.double() comes before the optimizer\n"
GROUPS = """[
    {"params": [each for each in model.parameters() if each.dim() >= 2]},
    {"params": [each for each in model.parameters() if each.dim() < 2], "weight_decay": 0.0},
]"""
SEED = 0
"""The seed in a command with the recommended settings."""
EXACT = 17
"""Significant digits that give a float64 back to the last bit."""


def recommended_code(ranking: Ranking) -> str:
    """The recommended settings of a study as code; a command with them, of a task that is a command.

    Empty if no trial is complete, or another program made the study.
    """
    best = ranking.recommended
    if best is None or "optimizer" not in best.settings:
        return ""
    known = ranking.study.study or {}
    task = known.get("task", {})
    if "command" not in task:
        longest = best if best.steps else ranking.best or best  # the baseline has no trial
        recipe = Recipe(**{name: known[name] for name in Recipe._fields if name in known})
        return render(best.settings, longest.total_steps or longest.steps, recipe=recipe)
    from adamtune.tasks.program import command_values, fill

    values = command_values({**task["settings"], **best.settings}, SEED, best.number)
    return shlex.join(fill(task["command"], values)) + "\n"


def render(settings: Mapping[str, Any], total: int, digits: int = 4, recipe: Recipe = USUAL) -> str:
    """The code of the optimizer, of its scheduler unless lr is constant, and of a step that is not the usual.

    Args:
        settings: those of a trial: ``optimizer``, ``schedule`` and their hyperparameters by catalog name, and
            ``clip_norm``. A missing hyperparameter has its default; other keys are ignored.
        total: optimizer steps of the training.
        digits: significant digits of every number.
        recipe: how the trial was trained.

    Returns:
        Lines that define ``optimizer`` (from ``model``), ``scheduler``, and ``train_step`` where it is not a
        backward pass and an optimizer step; ending in a newline.
    """
    optimizer, schedule = OPTIMIZERS[settings["optimizer"]], SCHEDULES[settings["schedule"]]
    # A trial of an older version may lack a hyperparameter that was added since.
    settings = optimizer.defaults | schedule.defaults | TRAINING.defaults | dict(settings)
    rounded = {
        each.name: round_value(each, settings[each.name], digits) for each in optimizer.hyperparameters
    }
    keywords = [f"{name}={_text(value)}" for name, value in arguments(optimizer.name, rounded).items()]
    module, name = optimizer.torch_class.split(":")
    parameters = GROUPS if recipe.weight_decay_on == "matrices" else "model.parameters()"
    constructor = f"torch.optim.{name}" if module == "torch.optim" else name
    made = f"optimizer = {call(constructor, parameters, *keywords)}\n"
    expression = scheduler_code(schedule.name, settings, total, digits)
    clip_norm = settings["clip_norm"]
    clipped = None if clip_norm == NONE else number(clip_norm, digits)
    step = _step(clipped, recipe, bool(expression))
    if expression:
        reminder = "" if step else REMINDER
        made += f"{reminder}scheduler = {expression}\n"
    # A class of torch.optim is written with its module; one of adamtune's own needs an import.
    standard = module == "torch.optim"
    imports = ["import torch"] if standard or "torch." in step else []
    imports += [] if standard else [f"from {module} import {name}"]
    imports += ["from torch.optim import lr_scheduler"] if expression else []
    return "\n".join(imports) + f"\n\n{made}{step}"


def _step(clip_norm: str | None, recipe: Recipe, scheduled: bool) -> str:
    """The function of a training step; empty where gradients are neither clipped nor accumulated nor scaled.

    Args:
        clip_norm: the limit of the gradient's norm as code.
        recipe: how the trial was trained.
        scheduled: whether there is a scheduler.
    """
    double = DOUBLE if recipe.precision == "float64" else ""
    low, scaled = recipe.precision in ("bfloat16", "float16"), recipe.precision == "float16"
    if clip_norm is None and not low and recipe.accumulate == 1:
        return double
    loss = "loss" if recipe.accumulate == 1 else f"(loss / {recipe.accumulate})"
    loss = f"scaler.scale({loss.strip('()')})" if scaled else loss
    lines = ["loss = compute_loss(model, batch)"]
    if low:
        lines = [f"with torch.autocast(device, torch.{recipe.precision}):", f"    {lines[0]}"]
    lines += [f"{loss}.backward()"]
    if recipe.accumulate > 1:
        lines = ["for batch in batches:", *(f"    {line}" for line in lines)]
    lines = ["optimizer.zero_grad()", *lines]
    if clip_norm is not None:
        lines += ["scaler.unscale_(optimizer)"] if scaled else []
        lines += [f"torch.nn.utils.clip_grad_norm_(model.parameters(), {clip_norm})"]
    lines += ["scaler.step(optimizer)", "scaler.update()"] if scaled else ["optimizer.step()"]
    lines += ["scheduler.step()"] if scheduled else []
    head = "device = next(model.parameters()).device.type\n" if low else ""
    head += "scaler = torch.amp.GradScaler(device)\n" if scaled else ""
    batches = "batch" if recipe.accumulate == 1 else "batches"
    body = textwrap.indent("\n".join(lines), "    ")
    yours = "    # compute_loss(model, batch) is the loss of your model\n"
    return f"{double}{head}\n\ndef train_step({batches}):\n{yours}{body}\n"


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
