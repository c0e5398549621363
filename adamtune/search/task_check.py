"""Finds mistakes in a user's task before the first trial: it takes a step and computes the metrics once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from time import perf_counter

import torch
from torch import Tensor, nn

from adamtune.config import StudyConfig
from adamtune.engines.base import Source, in_precision
from adamtune.engines.metrics import checked_loss, gradients_of, plain_metrics
from adamtune.engines.shared_state import shared_state
from adamtune.errors import UsageError
from adamtune.search.trial import Tasks
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import count_rows, map_rows, take_rows
from adamtune.tasks.randomness import seeded
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
    for each in found.values():
        check_objective(study, each)
    return found


def check_objective(study: StudyConfig, measured: Measurement) -> None:
    """Raises UsageError if a task does not report the metric of the study's objective."""
    metric, label = study.objective.metric, study.task.entry.label
    if metric not in measured.metrics:
        told = f"reports no metric {metric}; its metrics: {', '.join(measured.metrics)}"
        raise UsageError(f"objective: {label} {told}")


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
        whole: whether the loss of every training and test row is computed, so that a wrong row is found.

    Raises:
        UsageError: the task has a mistake; the message names the line of the user's code.
    """
    try:
        return _check(task, whole)
    except UsageError as error:
        if not task.recipe.autocast:
            raise
        plain = replace(task, recipe=task.recipe._replace(precision="float32"))
        _check(plain, whole=False)  # what fails there, too, is the mistake
        raise UsageError(
            f"{str(error).rstrip('.')}. It fails with precision: {task.recipe.precision} alone, on the CPU:"
            " use float32 or another"
        ) from error


def _check(task: LoadedTask, whole: bool) -> Measurement:
    with seeded(0), user_errors(line_of(type(task.task), "model")):
        _check_model(task)
        source = Source(task, torch.device("cpu"))
        model = source.module(0, 0)
        kept, seconds = _step(source, model)
        with torch.no_grad():
            if whole:
                _check_rows(source, model.eval())
            metrics = _check_metrics(source, model.eval())
    count = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return Measurement(count, (*metrics, "train_loss"), kept + 4 * count, seconds)


def _mistake(task: LoadedTask, method: str, message: object) -> UsageError:
    return UsageError(f"{line_of(type(task.task), method)}: {message}")


def _check_model(task: LoadedTask) -> None:
    model = task.build()
    if not isinstance(model, nn.Module):
        raise _mistake(task, "model", f"model() returned {type(model).__name__}: return an nn.Module")
    if not any(each.requires_grad for each in model.parameters()):
        raise _mistake(task, "model", "the model has no parameters to train")


def _step(source: Source, model: nn.Module) -> tuple[int, float]:
    """Computes a loss and its gradients; the bytes kept for them, and the seconds that they take."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        gradients = _gradients(source, model)
    if all(each is None for each in gradients.values()):
        raise _mistake(source.task, "loss", "the loss does not depend on the model's parameters")
    for name, each in gradients.items():
        if each is not None and each.is_sparse:
            message = f"the gradient of {name} is sparse, which the optimizers do not take: use sparse=False"
            raise _mistake(source.task, "loss", message)
        if each is not None and not torch.isfinite(each).all():
            message = f"the gradient of {name} is NaN or infinite before the first step"
            raise _mistake(source.task, "loss", message)
    return sum(kept.values()), min(_seconds(source, model) for _ in range(TIMED))


def _seconds(source: Source, model: nn.Module) -> float:
    began = perf_counter()
    _gradients(source, model)
    return perf_counter() - began


def _gradients(source: Source, model: nn.Module) -> dict[str, Tensor | None]:
    """The gradient of each parameter for the loss of the first batch; None where the loss has none."""
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    batch = take_rows(source.train, slice(source.task.batch_size))
    loss = _loss(source, model, batch, "the first batch")
    if not loss.requires_grad:
        raise _mistake(source.task, "loss", "the loss does not depend on the model's parameters")
    return gradients_of(loss, trained)


def _loss(source: Source, model: nn.Module, batch: Rows, rows: str) -> Tensor:
    with shared_state(source.task).of(source.task, model):
        value = source.task.loss(model, batch)
    try:
        loss = checked_loss(value)
    except UsageError as error:
        raise _mistake(source.task, "loss", error) from error
    if not isfinite(loss.item()):
        raise _mistake(source.task, "loss", f"the loss of {rows} is {loss.item()} before the first step")
    return loss


def _check_rows(source: Source, model: nn.Module) -> None:
    """Computes the loss of all training and test rows, in batches; the last may repeat rows of another."""
    task = source.task
    test = None if task.test is None else map_rows(lambda each: in_precision(each, source.dtype), task.test)
    for name, rows in (("training", source.train), ("test", test)):
        count = 0 if rows is None else count_rows(rows)
        for first in range(0, count, task.batch_size):
            start = max(0, min(first, count - task.batch_size))
            batch = take_rows(rows, slice(start, start + task.batch_size))
            _loss(source, model, batch, f"{name} rows {start} to {start + count_rows(batch) - 1}")


def _check_metrics(source: Source, model: nn.Module) -> list[str]:
    """The names of the metrics of the validation rows."""
    task = source.task
    with user_errors(line_of(type(task.task), "metrics")):
        some = take_rows(source.validation, slice(task.batch_size))
        with shared_state(task).of(task, model):
            scores = task.scores(model, some)
        for name, value in scores.items():
            if not isinstance(value, Tensor | int | float) or torch.as_tensor(value).numel() != 1:
                what = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise _mistake(task, "metrics", f"the metric {name} is {what}: return one number")
        found = plain_metrics(task, model, source.validation, 0)
    if not isfinite(found["val_loss"]):
        message = f"the loss of the validation rows is {found['val_loss']} before the first step"
        raise _mistake(task, "loss", message)
    return list(found)
