"""One optimizer step of a group of members, as a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.draws import Draws, Key
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.population.member_tensors import FirstRows
from adamtune.engines.population.replay import KernelCall, compile_calls
from adamtune.engines.population.row_by_row import RowByRow, replays
from adamtune.engines.population.row_copies import increment, put, take
from adamtune.engines.population.update import FIELDS, bind_update
from adamtune.engines.population.update_state import Part, State
from adamtune.recipe import Recipe
from adamtune.tasks.pytree import leaves, map_rows

aten = torch.ops.aten

STRETCH = 128
"""The most batches that are placed on the device at a time, unless one step has more."""


def stretch(recipe: Recipe) -> int:
    """The most steps whose batches and coefficients are placed on the device at a time."""
    return max(1, STRETCH // recipe.accumulate)


class Step:
    """Gathers the batch, computes every member's gradient and updates its parameters.

    Batches and coefficients of the next steps lie on the device in one tensor each, and a counter there says
    which step is next. So a step needs nothing from Python, and on a GPU all its kernels are one CUDA graph.

    Args:
        task: the task that all members train.
        tensors: the rows of all members; each step changes parameters, buffers and states in place.
        shared: whether all members train on the same batch.
        needed: the parts of the elementwise pass that some member needs.
    """

    def __init__(self, task: BatchedTask, tensors: FirstRows, shared: bool, needed: Terms) -> None:
        parameters, kept, states, scaling = tensors
        first = next(iter(parameters.values()))
        recipe = task.source.task.recipe
        members, length = len(first), min(stretch(recipe), task.source.task.evaluate_every)
        self._batches = recipe.accumulate
        size, dtype = task.source.task.batch_size, task.source.dtype
        lead = (size,) if shared else (members, size)
        self._next = torch.zeros(1, dtype=torch.int64, device=first.device)
        rounds = length * self._batches
        self._indices = self._next.new_zeros(rounds, *lead)
        self._coefficients = first.new_zeros(rounds, members, FIELDS, dtype=dtype)
        self._losses = first.new_zeros(rounds, members, dtype=dtype)
        # The current batch's slices are copied out, because a replay reads the same memory each time.
        index, packed = self._indices[:1].clone(), self._coefficients[:1].clone()
        rows = list(leaves(task.source.train))
        gathered = [each[index.flatten()] for each in rows]
        own = iter(gathered)
        batch = map_rows(lambda each: next(own).view(*lead, *each.shape[1:]), task.source.train)
        self._draws = Draws(members, first.device)
        self._scaling = scaling
        # Factors on the losses of a batch, and on the sums of their gradients.
        self._scale = first.new_ones(members, dtype=dtype)
        self._gain = torch.full_like(self._scale, 1 / self._batches)
        scale = None if scaling is None else self._scale
        capture = task.gradients(parameters, kept, batch, shared, self._draws, scale)
        losses, gradients, *failed = capture.outputs
        self._failed = failed[0] if failed else None
        self._sums: dict[str, Tensor] = {}
        if self._batches > 1:
            self._sums = {name: torch.zeros_like(each) for name, each in gradients.items()}
        self._tensors, self._batch, self._shared = {**parameters, **kept}, batch, shared
        self._by_row = RowByRow(task, self._tensors, losses, gradients)
        # On a GPU an error ends the process's use of it.
        self._changed = [] if first.is_cuda else [(each, each.clone()) for each in capture.changed]
        after = [
            put(losses.unsqueeze(0), self._next, self._losses),
            *(KernelCall(aten.add_.Tensor, (sum, gradients[name]), {}) for name, sum in self._sums.items()),
            increment(self._next),
        ]
        self._finish = compile_calls(after)
        self._compute = compile_calls(
            [
                take(self._indices, self._next, index),
                take(self._coefficients, self._next, packed),
                *(take(each, index.flatten(), out) for each, out in zip(rows, gathered, strict=True)),
                *(KernelCall(aten.copy_.default, (before, each), {}) for each, before in self._changed),
                *capture.program,
                *([] if failed else after),
            ]
        )
        gradients = self._sums or gradients
        # The elementwise pass treats a tensor's elements alike: its shape past the members does not matter.
        parts = [
            Part(
                _flat(parameters[name]),
                _flat(gradients[name]),
                State(*map(_flat_or_none, states[name])),
                decays=recipe.weight_decay_on == "all" or parameters[name][0].dim() >= 2,
            )
            for name in gradients
        ]
        self._gradients = [part.gradient for part in parts]
        self._update = bind_update(
            parts, packed[0], needed, None if scaling is None and self._batches == 1 else self._gain
        )
        self._members = members
        self._graph: torch.cuda.CUDAGraph | None = None

    def begin(self, indices: Tensor, coefficients: Tensor) -> None:
        """Places the batches and coefficients of the next steps on the device, a ``stretch`` at most.

        Args:
            indices: training rows of each batch, int64 ``[batches, batch]`` or ``[batches, members, batch]``;
                a step takes ``Recipe.accumulate`` of them.
            coefficients: ``[steps, members, fields]``. Members may be fewer than the step's rows: the rows
                past them have no member, and it does not matter what is computed in them.
        """
        self._indices[: len(indices)] = indices.view(len(indices), *self._indices.shape[1:])
        coefficients = coefficients.repeat_interleave(self._batches, 0)
        self._coefficients[: len(coefficients), : coefficients.shape[1]] = coefficients
        self._members = coefficients.shape[1]
        self._next.zero_()

    def run(
        self, keys: Callable[[int], Sequence[Key]], training: Callable[[], Sequence[int]]
    ) -> Sequence[int]:
        """Takes the next step. On a GPU all its kernels are launched at once, if none draws random numbers.

        Args:
            keys: gives what the random draws of each member derive from, for each batch of the step.
            training: gives the rows of the members that train: others wait for their evaluation.

        Returns:
            The rows whose member has diverged such that its loss raises an error.
        """
        if self._next.device.type != "cuda" or self._draws.used:
            return self._run(keys, training)
        if self._graph is None:
            # Capturing a CUDA graph does not run its kernels; the replay below does.
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._run(keys, training)
        self._graph.replay()
        return ()

    def losses(self, taken: int) -> list[list[float]]:
        """Each member's losses before each of the ``taken`` updates since ``begin``. Waits for the device."""
        losses = self._losses[: taken * self._batches]
        if self._batches > 1:
            losses = losses.view(taken, self._batches, -1).mean(1)
        return losses.t().tolist()

    def skipped(self) -> list[bool]:
        """Whether each row's last step was without an update. Waits for the device if losses are scaled."""
        return [] if self._scaling is None else (self._gain < 0).tolist()

    def _run(
        self, keys: Callable[[int], Sequence[Key]], training: Callable[[], Sequence[int]]
    ) -> Sequence[int]:
        if self._scaling is not None:
            torch.div(self._scaling.scale, self._batches, out=self._scale)
        failed: list[int] = []
        for batch in range(self._batches):
            if not replays(partial(self._replay, keys, batch), self._tensors.values(), self._members):
                failed += self._compute_rows(keys(batch), training())
                self._finish()
            elif self._failed is not None:
                if self._failed.any():
                    failed += self._compute_rows(keys(batch), self._otherwise(training()))
                self._finish()
        if self._scaling is not None:
            self._gain.copy_(self._scaling.update(self._gradients))
        self._update()
        for each in self._sums.values():
            each.zero_()
        return failed

    def _replay(self, keys: Callable[[int], Sequence[Key]], batch: int) -> None:
        """Computes losses and gradients; where that raises an error, the tensors are as before."""
        if self._draws.used:
            self._draws.seed(keys(batch))
        try:
            self._compute()
        except Exception:
            for each, before in self._changed:
                each.copy_(before)
            raise

    def _compute_rows(self, keys: Sequence[Key], rows: Sequence[int]) -> list[int]:
        """Computes losses and gradients of one row after the other; the rows that have diverged."""
        failed = []
        for row in rows:
            batch = self._batch if self._shared else map_rows(itemgetter(row), self._batch)
            scale = None if self._scaling is None else self._scale[row]
            if not self._by_row.compute(row, keys[row], batch, scale):
                failed.append(row)
        return failed

    def _otherwise(self, rows: Sequence[int]) -> list[int]:
        """Those of the rows that decide otherwise than recorded, with the tensors from before the step."""
        assert self._failed is not None
        found = [row for row in rows if self._failed[row]]
        batch = [id(each) for each in leaves(self._batch)] if self._shared else []
        for each, before in self._changed:
            own = slice(None) if id(each) in batch else found
            each[own] = before[own]
        return found


def _flat(tensor: Tensor) -> Tensor:
    # As in torch.optim, the real and imaginary parts of a complex number are two numbers.
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.view(len(tensor), -1)


def _flat_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _flat(tensor)
