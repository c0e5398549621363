"""Trainings that are a user's function: the decorator, and what the function gets. Torch-free to import."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DIRECTIONS = ("minimize", "maximize")
CHECKPOINT, DRAFT = "checkpoint-", "draft-"


class Pruned(BaseException):
    """Ends a training function whose trial is pruned; no ``except Exception`` catches it."""


def no_search(message: Mapping[str, Any]) -> bool:
    """Takes a message of a run that belongs to no search; the run continues."""
    return True


@dataclass
class Run:
    """One training of a function: the settings of its trial, and its reports.

    A run may be made by hand, to call the function without a search: ``train(Run({"lr": 1e-3, ...}))``.

    Attributes:
        settings: everything that the trial is trained with, by name: ``optimizer`` and ``schedule`` with
            their hyperparameters, then the settings of the task.
        seed: an integer in [0, 2**32) to use for everything random. Trials of a study have the same one, and
            each training seed of a trial another.
        metrics: the names of the metrics that the function reports.
        folder: where checkpoints are kept; None keeps none.
        send: sends a message to the search; False if the trial is pruned.
    """

    settings: Mapping[str, Any]
    seed: int = 0
    metrics: tuple[str, ...] = ()
    folder: Path | None = None
    send: Callable[[Mapping[str, Any]], bool] = field(default=no_search, repr=False)
    _step: int = field(default=0, init=False, repr=False)

    def optimizer(
        self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], steps: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The torch optimizer and the scheduler of the trial's settings.

        Args:
            parameters: the tensors to optimize, all on one device; or groups as torch takes them, dicts with
                ``params`` and what a group has in place of the trial's hyperparameters.
            steps: optimizer steps of the whole training, over which the schedule runs.

        Returns:
            The optimizer, and a scheduler whose ``step`` is to be called after each step of the optimizer.

        Raises:
            ValueError: ``steps`` is not positive.
        """
        from torch.optim.lr_scheduler import LambdaLR

        from adamtune.optimizers.registry import OPTIMIZERS, build
        from adamtune.schedules.registry import SCHEDULES, lr_factors

        if steps < 1:
            raise ValueError(f"steps is {steps}: give the optimizer steps of the whole training, at least 1")
        name, schedule = self.settings["optimizer"], self.settings["schedule"]
        optimizer = build(name, parameters, {each: self.settings[each] for each in OPTIMIZERS[name].defaults})
        own = {each: self.settings[each] for each in SCHEDULES[schedule].defaults}
        factors = lr_factors(schedule, own, steps)
        self.send({"total": steps})
        return optimizer, LambdaLR(optimizer, lambda step: factors[min(step, steps - 1)])

    def report(self, step: int, **metrics: float) -> None:
        """Reports the metrics after a step. It ends the function here if the trial is pruned.

        Args:
            step: optimizer steps taken, more than at the last report.
            metrics: every metric that ``trainable`` was given, by name.

        Raises:
            ValueError: a metric is missing or unknown, or the step is not more than the last one.
        """
        if not self.metrics:
            self.metrics = tuple(metrics)
        if set(metrics) != set(self.metrics):
            expected, found = ", ".join(self.metrics), ", ".join(metrics) or "none"
            raise ValueError(f"report got the metrics {found}; trainable was given {expected}")
        if int(step) <= self._step:
            raise ValueError(f"report got step {step} after step {self._step}: steps start at 1 and grow")
        self._step = int(step)
        values = {name: float(value) for name, value in metrics.items()}
        if not self.send({"step": self._step, "metrics": values}):
            raise Pruned

    def checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Keeps a copy of a file or folder, from which ``restore`` continues after an interruption.

        Report a step before the checkpoint of that step. A training without a checkpoint begins anew.

        Args:
            path: the file or folder; the copy has its name.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        draft, kept = self.folder / f"{DRAFT}{os.getpid()}", _checkpoints(self.folder)
        number = kept[-1][0] + 1 if kept else 0
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        source = Path(path)
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, draft / source.name)
        draft.rename(self.folder / f"{CHECKPOINT}{number}")
        for _, old in kept:
            shutil.rmtree(old, ignore_errors=True)

    def restore(self) -> Path | None:
        """The copy that the last ``checkpoint`` kept; None where the training starts from its beginning."""
        kept = _checkpoints(self.folder) if self.folder else []
        return next(kept[-1][1].iterdir()) if kept else None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by number; each is a folder with one file or folder in it."""
    found = folder.glob(f"{CHECKPOINT}*")
    return sorted((int(each.name.removeprefix(CHECKPOINT)), each) for each in found)


@dataclass(frozen=True)
class Trainable:
    """A function that trains a model, with the metrics that it reports.

    Attributes:
        function: takes a ``Run``.
        metrics: each metric and whether less or more of it is better; the first is the default objective.
    """

    function: Callable[[Run], object]
    metrics: Mapping[str, Literal["minimize", "maximize"]]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring, or the function's name."""
        own = getdoc(self.function)
        return own.split("\n")[0].rstrip(".") if own else self.function.__name__

    def __call__(self, run: Run) -> object:
        """Calls the function."""
        return self.function(run)


def trainable(
    *, metrics: Mapping[str, Literal["minimize", "maximize"]]
) -> Callable[[Callable[[Run], object]], Trainable]:
    """Decorates a function that trains a model, so that a study can name it as its task.

    Args:
        metrics: each metric that the function reports, and whether less or more of it is better. The first is
            the default objective.

    Raises:
        ValueError: there is no metric, or a direction is neither ``minimize`` nor ``maximize``.
    """
    if not metrics:
        raise ValueError('trainable needs a metric, such as metrics={"val_loss": "minimize"}')
    for name, direction in metrics.items():
        if not name.isidentifier():
            raise ValueError(f"the metric {name!r} is no name: use letters, digits and _")
        if direction not in DIRECTIONS:
            raise ValueError(f"the metric {name} has the direction {direction!r}: write minimize or maximize")
    return lambda function: Trainable(function, dict(metrics))
