"""One training as a skilled user writes it in plain torch, and its search space in plain Optuna.

Data, model and loss are those of adamtune's tasks, so that the arithmetic is the same; everything
else is written out. On a CPU ``fused=True`` is the fastest AdamW that torch has for these models:
10 to 35 % of a step less than foreach.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import torch
from torch import Tensor

from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "linear": lambda progress: 1 - progress,
    "exponential": lambda progress: 0.01**progress,
    "step": lambda progress: 0.1 ** math.floor(3 * progress),
}
"""The learning rate's factor as a function of the part of the steps that is done."""


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """The space of configs/digits-cnn.yaml."""
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "one_minus_beta1": trial.suggest_float("one_minus_beta1", 0.02, 0.5, log=True),
        "one_minus_beta2": trial.suggest_float("one_minus_beta2", 1e-4, 1e-1, log=True),
        "eps": trial.suggest_float("eps", 1e-10, 1e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "schedule": trial.suggest_categorical("schedule", list(SCHEDULES)),
        "warmup_fraction": trial.suggest_float("warmup_fraction", 0.0, 0.1),
    }


def train(task: LoadedTask, settings: dict[str, Any], seed: int) -> Iterator[tuple[int, float]]:
    """Trains a model; yields (step, val_loss) at every evaluation until the loss is not finite."""
    torch.manual_seed(seed)
    model = task.build()
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings["lr"],
        betas=(1 - settings["one_minus_beta1"], 1 - settings["one_minus_beta2"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    for step, batch in enumerate(batches(task), start=1):
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * _factor(settings, step - 1, task.steps)
        optimizer.zero_grad(set_to_none=True)
        task.loss(model, batch).backward()
        optimizer.step()
        if step % task.evaluate_every == 0 or step == task.steps:
            value = _evaluate(task, model)
            yield step, value
            if not math.isfinite(value):
                return


def batches(task: LoadedTask) -> Iterator[Rows]:
    """The batches of a training: each epoch in another order."""
    rows, done, device = len(task.train[0]), 0, task.train[0].device
    while True:
        epoch = torch.randperm(rows, device=device)[: rows // task.batch_size * task.batch_size]
        for indices in torch.split(epoch, task.batch_size):
            if done == task.steps:
                return
            yield tuple(tensor[indices] for tensor in task.train)
            done += 1


def _factor(settings: dict[str, Any], step: int, steps: int) -> float:
    warmup: int = round(settings["warmup_fraction"] * steps)
    if step < warmup:
        return (step + 1) / warmup
    return SCHEDULES[settings["schedule"]]((step - warmup) / (steps - warmup))


@torch.no_grad()
def _evaluate(task: LoadedTask, model: Callable[..., Tensor]) -> float:
    return float(task.scores(model, task.validation)["val_loss"])
