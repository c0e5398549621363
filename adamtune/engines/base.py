"""The interface of engines: members to train, evaluations of them, and the data that they share."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from math import isfinite
from operator import itemgetter
from statistics import fmean
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.shared_state import shared_state
from adamtune.engines.torch_private import uncompiled
from adamtune.errors import UsageError
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import map_rows, take_rows
from adamtune.tasks.randomness import derive, initial_module, seeded


@dataclass(frozen=True, eq=False)
class Member:
    """One training: one trial's settings with one training seed.

    Attributes:
        trial: the trial's number in its study.
        replicate: the number of the trial's training seed, from 0.
        seed: the study's seed. Weights and batches derive from (seed, replicate, step) alone, so
            members of one replicate start alike and see the same batches (common random numbers).
        task: the task to train. Members of one task object form a cohort: their tensors have the same shapes.
        optimizer: a name of the optimizer catalog.
        hyperparameters: every hyperparameter of the optimizer, by catalog name.
        schedule: a name of the schedule catalog.
        schedule_hyperparameters: every hyperparameter of the schedule, by catalog name.
        clip_norm: the largest norm of the gradient of all parameters, to which a larger one is scaled down;
            None for no limit.
    """

    trial: int
    replicate: int
    seed: int
    task: LoadedTask
    optimizer: str
    hyperparameters: Mapping[str, float]
    schedule: str
    schedule_hyperparameters: Mapping[str, float]
    clip_norm: float | None = None


class Evaluation(NamedTuple):
    """A member's metrics after the steps since its last evaluation.

    A member that has finished, diverged or failed has left the engine when its evaluation is returned.

    Attributes:
        member: the member.
        step: optimizer steps taken.
        metrics: the task's scores, and ``train_loss``, the mean over the batches since the last evaluation;
            at the last step those of the holdouts, such as ``test/loss``. Empty if the member diverged.
        diverged_at: the first step whose loss or scores were not finite, or None.
        finished: whether this is the member's last step.
        seconds: wall time since the last evaluation, divided evenly among the members trained together.
        failure: why the training failed; None unless it did.
        total: the steps of the whole training, where the task does not know them.
    """

    member: Member
    step: int
    metrics: Mapping[str, float]
    diverged_at: int | None
    finished: bool
    seconds: float
    failure: str | None = None
    total: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the member has finished without a divergence or failure."""
        return self.finished and self.diverged_at is None and self.failure is None

    @property
    def ends(self) -> bool:
        """Whether the member has left the engine."""
        return self.finished or self.diverged_at is not None or self.failure is not None


class Engine(Protocol):
    """Trains members, each in a slot of its own. For use from one thread at a time."""

    slots: int
    """The most members in training at once."""

    def admit(self, members: Sequence[Member]) -> None:
        """Puts members into free slots, at step 0. Raises ValueError if there are too few free slots."""

    def advance(self, pause: Callable[[], bool] = lambda: False) -> list[Evaluation]:
        """Trains to the next evaluation of every member, or of every member of some trials.

        Args:
            pause: asked before each step. When it returns True, training stops there; the next call continues
                from there, with the same results as without a pause. In between, no member may be admitted.

        Returns:
            One evaluation a member, in order of admission, those of one trial at one step; of one member
            alone if it has diverged or failed; none after a pause.
        """

    def release(self, members: Sequence[Member]) -> None:
        """Frees the slots of members whose training ends here, because they are pruned."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which ``restore`` continues training to the last bit."""

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Replaces all members by those of a state, at the steps that they had reached.

        Args:
            members: the members, in order of admission.
            state: what ``state`` returned.
        """


class Source:
    """A task's data and models on a device, in one precision.

    Args:
        task: the task.
        device: where the tensors are placed.
        dtype: the precision of real numbers, float32 or float64, say. None leaves it to the recipe of the
            task: float64, or the precision of the model's own weights. Data have the precision of the
            weights. Whole numbers and truth values keep their type.

    Attributes:
        train: the training rows.
        validation: the validation rows.
        holdouts: the parts of the test rows that are scored at the last step alone, by name.
        dtype: the precision of losses.
        initial: takes a seed and a replicate and returns the parameters and buffers before the first step, by
            name.

    Raises:
        UsageError: the model has no weights to train.
    """

    def __init__(self, task: LoadedTask, device: torch.device, dtype: torch.dtype | None = None) -> None:
        if dtype is None and task.recipe.precision == "float64":
            dtype = torch.float64
        self.task, self.device, self._wanted = task, device, dtype
        model = self.module(0, 0)
        parameters = [each for each in model.parameters() if each.requires_grad]
        if not parameters:
            raise UsageError("the model has no weights to train: model() returns a module without parameters")
        precisions = {each.dtype.to_real() for each in parameters}
        self.dtype = dtype or max(precisions, key=lambda each: each.itemsize)
        # Members of one replicate start alike, and a study has few replicates: most weights are drawn once.
        self.initial = lru_cache(maxsize=16)(self._initial)
        self.train, self.validation = (map_rows(self._placed, rows) for rows in (task.train, task.validation))
        test = map_rows(self._placed, task.test) if task.holdouts else None
        self.holdouts = {name: map_rows(itemgetter(part), test) for name, part in task.holdouts.items()}

    def module(self, seed: int, replicate: int) -> nn.Module:
        """A replicate's model before its first step, in training mode."""
        module = uncompiled(initial_module(self.task, seed, replicate)).to(self.device)
        if self._wanted is not None:
            for each in module.modules():
                for parameter in each.parameters(recurse=False):
                    parameter.data = in_precision(parameter.data, self._wanted)
                for name, buffer in each.named_buffers(recurse=False):
                    setattr(each, name, in_precision(buffer, self._wanted))
        return module

    @cached_property
    def foreign_draws(self) -> str | None:
        """The generator, other than torch's, that a training step draws from; None if there is none."""
        module = self.module(0, 0)
        with seeded(0, self.device), shared_state(self.task).of(self.task, module):
            numpy_before, python_before = np.random.get_state(), random.getstate()
            self.task.loss(module, take_rows(self.train, slice(self.task.batch_size)))
            if random.getstate() != python_before:
                return "Python's random module"
            same = all(map(np.array_equal, np.random.get_state(), numpy_before))
            return None if same else "NumPy's global generator"

    def _initial(self, seed: int, replicate: int) -> dict[str, Tensor]:
        module = self.module(seed, replicate)
        return {
            name: each.detach() for name, each in chain(module.named_parameters(), module.named_buffers())
        }

    def _placed(self, tensor: Tensor) -> Tensor:
        return in_precision(tensor.to(self.device), self.dtype)

    def next_evaluation(self, step: int) -> int:
        """The step of the first evaluation after ``step``; the training's last step from there on."""
        every = self.task.evaluate_every
        return min(self.task.steps, (step // every + 1) * every)


def evaluation_seed(member: Member, step: int) -> int:
    """The seed of what the metrics of a member draw at a step."""
    return derive(member.seed, "evaluation", member.replicate, step)


def in_precision(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor with real numbers as ``dtype`` and complex ones as precise; others stay as they are."""
    if tensor.is_complex():
        return tensor.to(dtype.to_complex())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def evaluation(
    member: Member, step: int, losses: Sequence[float], scores: Mapping[str, float], seconds: float
) -> Evaluation:
    """The evaluation of a member, with the step at which it diverged, if it did.

    Args:
        member: the member.
        step: optimizer steps taken.
        losses: the loss before each update since the last evaluation.
        scores: the task's scores after the last update.
        seconds: wall time since the last evaluation, of this member alone.
    """
    diverged = diverged_at(losses, list(scores.values()), step - len(losses))
    recent = losses[-member.task.loss_steps :] if step == member.task.steps else losses
    metrics = {**scores, "train_loss": fmean(recent)} if diverged is None else {}
    return Evaluation(member, step, metrics, diverged, step == member.task.steps, seconds)


def diverged_at(losses: Sequence[float], scores: Sequence[float], start: int) -> int | None:
    """The first step whose loss was not finite, or the last step if the scores after it are not.

    Args:
        losses: the loss before each update since step ``start``.
        scores: the scores after the last update.
        start: the step of the last evaluation.

    Returns:
        The step, or None if all numbers are finite.
    """
    steps = (step for step, loss in enumerate(losses, start + 1) if not isfinite(loss))
    return next(steps, None if all(map(isfinite, scores)) else start + len(losses))
