"""The training of one member with ``torch.optim``: what a plain loop does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite, nan
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adamtune.engines.base import Evaluation, Member, Source, evaluation, evaluation_seed
from adamtune.engines.divergence import has_diverged, member_metrics
from adamtune.engines.eager import eager
from adamtune.engines.metrics import (
    checked_loss,
    holdout_metrics,
)
from adamtune.engines.shared_state import shared_state
from adamtune.engines.stored_values import CannotStore, ModuleValues
from adamtune.engines.torch_private import tree_map_only, unhooked_step
from adamtune.optimizers.registry import build
from adamtune.schedules.registry import lr_factors
from adamtune.tasks.base import Rows
from adamtune.tasks.pytree import take_rows
from adamtune.tasks.randomness import batch_indices, derive, seed_generators


class Training:
    """One member's model, optimizer and place in its schedule."""

    def __init__(self, member: Member, source: Source) -> None:
        self.member, self.source, self.step = member, source, 0
        self.losses: list[float] = []
        self.seconds = 0.0
        self.repeated: Mapping[str, Any] | None = None
        self.task = member.task
        self.module = source.module(member.seed, member.replicate)
        self.shared = shared_state(self.task)
        self.values = ModuleValues(self.module)
        self.recipe = self.task.recipe
        self.optimizer = build(
            member.optimizer,
            self.module.parameters(),
            member.hyperparameters,
            self.recipe.weight_decay_on,
        )
        self.update = unhooked_step(self.optimizer)
        self.scaler = torch.amp.GradScaler(source.device.type, enabled=self.recipe.loss_scale)
        factors = lr_factors(member.schedule, member.schedule_hyperparameters, self.task.steps)
        self.trained = [each for group in self.optimizer.param_groups for each in group["params"]]
        self.lrs = [member.hyperparameters["lr"] * factor for factor in factors]

    def train(self, pause: Callable[[], bool]) -> bool:
        """Trains until the next evaluation or a pause; whether the evaluation is reached."""
        if self.repeated is not None and not self._repeat(self.repeated, pause):
            return False
        began = perf_counter()
        stop = self.source.next_evaluation(self.step - len(self.losses))
        if self.step < stop:
            seed_generators(0, self.source.device)
            with eager():
                self._take_steps(stop, pause)
        self.seconds += perf_counter() - began
        return self.step == stop

    def _repeat(self, saved: Mapping[str, Any], pause: Callable[[], bool]) -> bool:
        """Trains from the first step to that of a state, or to a pause; whether it is reached."""
        while self.step < saved["step"]:
            stop = min(self.source.next_evaluation(self.step - len(self.losses)), saved["step"])
            seed_generators(0, self.source.device)
            with eager():
                self._take_steps(stop, pause)
            if self.step < stop:
                return False
            if stop < saved["step"] or not saved["losses"]:
                self.evaluate()
        self.repeated, self.seconds = None, saved["seconds"]
        return True

    def _take_steps(self, stop: int, pause: Callable[[], bool]) -> None:
        self.module.train()
        losses = []
        count = self.recipe.accumulate
        indices = batch_indices(
            self.task, self.member.seed, self.member.replicate, self.step * count, stop * count
        )
        batches = indices.to(self.source.device).unbind()
        for first in range(0, len(batches), count):
            if pause():
                break
            own = batches[first : first + count]
            losses.append(self._update(take_rows(self.source.train, index) for index in own))
        self.losses += torch.stack(losses).tolist() if losses else []

    def _update(self, batches: Iterable[Rows]) -> Tensor:
        """Takes a step with the mean gradient of the batches; their mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lrs[self.step]
        for parameter in self.trained:  # as zero_grad does, whose profiling takes as long as a small layer
            parameter.grad = None
        loss, *others = [self._backward(place, batch) for place, batch in enumerate(batches)]
        for each in others:
            loss = loss + each
        self.step += 1
        if all(each.grad is None for each in self.trained):
            return loss  # it has diverged
        self.scaler.unscale_(self.optimizer)
        if self.member.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.member.clip_norm)
        try:
            if self.scaler.is_enabled():
                self.scaler.step(self.optimizer)
            else:
                with torch.no_grad():
                    self.update()
        except (OverflowError, RuntimeError) as error:
            if "overflow" not in str(error) and not isinstance(error, OverflowError):
                raise
            # A scalar of the update is beyond the parameters' precision: training has diverged.
            for parameter in self.module.parameters():
                parameter.data.fill_(nan)
        self.scaler.update()
        return loss

    def _backward(self, place: int, batch: Rows) -> Tensor:
        """Adds the gradient of the batch at a place in the step; its part of the step's loss."""
        backward = partial(self._add_gradient, self.step * self.recipe.accumulate + place, batch)
        try:
            return backward()
        except Exception as error:
            if not has_diverged(error, self.module, backward):
                raise
            return torch.full((), nan, dtype=self.source.dtype, device=self.source.device)

    def _add_gradient(self, number: int, batch: Rows) -> Tensor:
        self._seed(number)
        with self.shared.of(self.task, self.module):
            loss = checked_loss(self.task.loss(self.module, batch))
        if self.recipe.accumulate > 1:
            loss = loss / self.recipe.accumulate
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _seed(self, batch: int) -> None:
        """Seeds the generators for a batch, counted from the beginning of the training.

        What a model draws itself (dropout) follows from seed, replicate and batch, not from earlier draws.
        """
        value = derive(self.member.seed, "step", self.member.replicate, batch)
        # torch.manual_seed looks for every kind of accelerator, which takes as long as a small layer.
        seed = torch.default_generator.manual_seed if self.source.device.type == "cpu" else torch.manual_seed
        seed(value)
        if self.source.foreign_draws:
            random.seed(value)
            np.random.seed(value)

    def evaluate(self) -> Evaluation:
        """Scores the model; see ``Evaluation``."""
        began = perf_counter()
        seed = evaluation_seed(self.member, self.step)
        found = self._metrics(seed)
        seconds = self.seconds + perf_counter() - began
        made = evaluation(self.member, self.step, self.losses, found, seconds)
        self.losses, self.seconds = [], 0.0
        if not made.succeeded:
            return made
        score = partial(member_metrics, self.task, self.module, seed=seed)
        return made._replace(metrics={**made.metrics, **holdout_metrics(self.source.holdouts, score)})

    def _metrics(self, seed: int) -> Mapping[str, float]:
        if not all(map(isfinite, self.losses)):
            return {}  # it has diverged
        seed_generators(seed, self.source.device)
        return member_metrics(self.task, self.module, self.source.validation, None)

    def state(self) -> dict[str, Any]:
        """The step, losses, model and optimizer state, as copies on the CPU."""
        if self.repeated is not None:
            return dict(self.repeated)
        return {
            "step": self.step,
            "losses": list(self.losses),
            "seconds": self.seconds,
            "model": _copy(self._tensors()),
            "attributes": self.values.changed(),
            "shared": self.shared.values(self.module),
            "optimizer": _copy(self.optimizer.state_dict()["state"]),
            "scaler": self.scaler.state_dict(),
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, also buffers that ``state_dict`` leaves out."""
        module = self.module
        return {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continues from a state, or repeats the training up to it where an object cannot be stored."""
        try:
            self.values.restore(saved.get("attributes", {}))  # 0.2.0 did not keep them
        except CannotStore:
            Training.__init__(self, self.member, self.source)
            self.repeated = saved
            return
        self.shared.put(self.task, self.module, saved.get("shared", {}))
        self.step, self.losses, self.seconds = saved["step"], list(saved["losses"]), saved["seconds"]
        own = self._tensors()
        for name, value in saved["model"].items():
            own[name].data.copy_(value)
        if saved.get("scaler"):
            self.scaler.load_state_dict(saved["scaler"])
        # Learning rates come with each step, and the other settings with the member.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": _copy(saved["optimizer"]), "param_groups": groups})


def _copy(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """A copy of a state with copies of its tensors on the CPU."""
    return tree_map_only(Tensor, lambda each: each.to("cpu", copy=True), dict(state))  # type: ignore[no-any-return]
