"""Finds mistakes in a user's task before the first trial: it takes a step and computes the metrics once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from adamtune.config import StudyConfig
from adamtune.errors import UsageError
from adamtune.search.trial import Tasks
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import count_rows, take_rows
from adamtune.tasks.source import line_of, user_errors

TIMED = 3
"""Steps that are timed; the fastest counts."""
MOST = 64
"""The most models that are built to find the largest, and the most variants that are tried in lockstep."""


def largest_tasks(
    study: StudyConfig, tasks: Tasks, measured: Measured | None = None
) -> list[tuple[LoadedTask, int | None]]:
    """The largest model of a study, then the largest of each other kind.

    Models whose settings that are no numbers agree are of one kind; so are all of a task with ``step_bytes``.

    Returns:
        Tuples of the task and its ``step_bytes``.

    Raises:
        UsageError: the task has a mistake, or does not report the objective.
    """
    known = {each: each.task.step_bytes() for each in tasks.extremes()}
    if None not in known.values():
        return [max(known.items(), key=lambda item: item[1] or 0)]
    measured = measured or measure(study, tasks)
    largest: dict[str, tuple[LoadedTask, None]] = {}
    for each in sorted(measured, key=lambda each: measured[each].kept_bytes, reverse=True):
        values = [getattr(each.task, name) for name in study.space.task]
        kind = str([value for value in values if not isinstance(value, int | float)])
        largest.setdefault(kind, (each, None))
    return list(largest.values())


def measure(study: StudyConfig, tasks: Tasks) -> Measured:
    """``check_task`` of the extremes of a study's task, of ``MOST`` if there are more.

    Raises:
        UsageError: the task has a mistake, or does not report the objective.
    """
    extremes = tasks.extremes()
    chosen = {extremes[len(extremes) * index // MOST] for index in range(MOST)} | {extremes[-1]}
    found = {each: check_task(each, each is extremes[0]) for each in extremes if each in chosen}
    metric, metrics = study.objective.metric, found[extremes[0]].metrics
    if metric not in metrics:
        raise UsageError(
            f"objective: {tasks.entry.label} reports no metric {metric}; its metrics: {', '.join(metrics)}"
        )
    return found


@dataclass(frozen=True)
class Measurement:
    """What a task's model is like.

    Attributes:
        parameters: numbers that are trained.
        metrics: the names of its metrics.
        kept_bytes: what one step keeps for its gradients, the parameters included; it ranks models by size.
        step_seconds: wall time of one step in plain torch.
    """

    parameters: int
    metrics: tuple[str, ...]
    kept_bytes: int
    step_seconds: float


Measured = dict[LoadedTask, Measurement]


def check_task(task: LoadedTask, whole: bool = True) -> Measurement:
    """Builds the model and computes a step and the metrics in plain torch, on the CPU.

    Args:
        task: the task.
        whole: whether the loss of every training row is computed, so that a wrong row is found.

    Raises:
        UsageError: the task has a mistake; the message names the line of the user's code.
    """
    with _seeded(), user_errors(f"task {type(task.task).__name__}"):
        model = _model(task)
        batch = take_rows(task.train, slice(task.batch_size))
        task.loss(model.eval(), batch)  # gives lazy layers their shapes
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        if not trained:
            raise _mistake(task, "model", "the model has no parameters to train")
        kept, seconds = _step(task, model.train(), batch, trained)
        with torch.no_grad():
            if whole:
                _check_rows(task, model.eval())
            metrics = _check_metrics(task, model.eval())
    count = sum(each.numel() for each in trained.values())
    return Measurement(count, (*metrics, "train_loss"), kept + 4 * count, seconds)


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def _mistake(task: LoadedTask, method: str, message: str) -> UsageError:
    return UsageError(f"{line_of(type(task.task), method)}: {message}")


def _model(task: LoadedTask) -> nn.Module:
    model = task.build()
    if not isinstance(model, nn.Module):
        raise _mistake(task, "model", f"model() returned {type(model).__name__}: return an nn.Module")
    return model


def _step(
    task: LoadedTask, model: nn.Module, batch: Rows, trained: dict[str, nn.Parameter]
) -> tuple[int, float]:
    """Computes a loss and its gradients; the bytes kept for them, and the seconds that they take."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        gradients = _gradients(task, model, batch, trained)
    if all(each is None for each in gradients):
        raise _mistake(task, "loss", "the loss does not depend on the model's parameters")
    for name, each in zip(trained, gradients, strict=True):
        if each is not None and not torch.isfinite(each).all():
            raise _mistake(task, "loss", f"the gradient of {name} is NaN or infinite before the first step")
    return sum(kept.values()), min(_seconds(task, model, batch, trained) for _ in range(TIMED))


def _seconds(task: LoadedTask, model: nn.Module, batch: Rows, trained: dict[str, nn.Parameter]) -> float:
    began = perf_counter()
    _gradients(task, model, batch, trained)
    return perf_counter() - began


def _gradients(
    task: LoadedTask, model: nn.Module, batch: Rows, trained: dict[str, nn.Parameter]
) -> tuple[Tensor | None, ...]:
    loss = _checked_loss(task, task.loss(model, batch), "the first batch")
    if not loss.requires_grad:
        raise _mistake(task, "loss", "the loss does not depend on the model's parameters")
    return torch.autograd.grad(loss, list(trained.values()), allow_unused=True)


def _checked_loss(task: LoadedTask, loss: Any, rows: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        found = type(loss).__name__
        if isinstance(loss, Tensor):
            found = f"a tensor of shape {list(loss.shape)} and type {loss.dtype}"
        raise _mistake(task, "loss", f"loss() returned {found}: return one real number, such as a mean")
    if not isfinite(loss.item()):
        raise _mistake(task, "loss", f"the loss of {rows} is {loss.item()} before the first step")
    return loss


def _check_rows(task: LoadedTask, model: nn.Module) -> None:
    """Computes the loss of all training and test rows, in batches; the last may repeat rows of another."""
    for name, rows in (("training", task.train), ("test", task.test)):
        count = 0 if rows is None else count_rows(rows)
        for first in range(0, count, task.batch_size):
            start = max(0, min(first, count - task.batch_size))
            batch = take_rows(rows, slice(start, start + task.batch_size))
            last = start + count_rows(batch) - 1
            _checked_loss(task, task.loss(model, batch), f"{name} rows {start} to {last}")


def _check_metrics(task: LoadedTask, model: nn.Module) -> list[str]:
    """The names of the metrics of the validation rows."""
    found = task.scores(model, task.validation)
    _checked_loss(task, found["val_loss"], "the validation rows")
    for name, value in found.items():
        if not isinstance(value, Tensor | int | float) or torch.as_tensor(value).numel() != 1:
            what = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise _mistake(task, "metrics", f"the metric {name} is {what}: return one number")
    return list(found)
