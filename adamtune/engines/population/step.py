"""One optimizer step of a group of members, on memory that stays where it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.engines.native.loader import kernel_library
from adamtune.engines.native.operators import Kernel
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.gradients import capture_gradients
from adamtune.engines.population.replay import Bound, compiled
from adamtune.engines.population.update import FIELDS, Part, State, bind_update
from adamtune.tasks.base import Rows, Task

STRETCH = 128
"""Steps that are laid out at a time: their batches and coefficients lie ready on the device."""


class Step:
    """Gathers the batch, computes every member's gradient and updates its parameters.

    Args:
        task: what is trained.
        rows: the training rows.
        parameters: by name, ``[members, *shape]``; changed by each run, as are the states.
        states: by name, like the parameters.
        shared: whether all members train on the same batch.
        needed: the parts of the elementwise pass that some member needs.
    """

    def __init__(
        self,
        task: Task,
        rows: Rows,
        parameters: Mapping[str, Tensor],
        states: Mapping[str, State],
        shared: bool,
        needed: Terms,
    ) -> None:
        first = next(iter(parameters.values()))
        members, length = len(first), min(STRETCH, task.evaluate_every)
        lead = (task.batch_size,) if shared else (members, task.batch_size)
        self._now = torch.zeros(1, dtype=torch.int64, device=first.device)
        self._indices = self._now.new_zeros(length, *lead)
        self._coefficients = first.new_zeros(length, members, FIELDS)
        self._losses = first.new_zeros(length, members)
        index, packed = self._indices[:1].clone(), self._coefficients[:1].clone()
        gathered = [each[index.flatten()] for each in rows]
        batch = tuple(each.view(*lead, *each.shape[1:]) for each in gathered)
        capture = capture_gradients(task, parameters, batch, shared)
        losses, gradients = capture.outputs
        self._compute = compiled(
            [
                take(self._indices, self._now, index),
                take(self._coefficients, self._now, packed),
                *(take(each, index.flatten(), out) for each, out in zip(rows, gathered, strict=True)),
                *capture.program,
                put(losses.unsqueeze(0), self._now, self._losses),
                advance(self._now),
            ]
        )
        parts = [
            Part(_flat(parameters[name]), _flat(gradients[name]), State(*map(_flat_or_none, states[name])))
            for name in parameters
        ]
        self._update = bind_update(parts, packed[0], needed)
        self._graph: torch.cuda.CUDAGraph | None = None

    def begin(self, indices: Tensor, coefficients: Tensor) -> None:
        """Lays out the next steps, ``STRETCH`` at most.

        Args:
            indices: which rows are the batches, int64 ``[steps, batch]`` or ``[steps, members, batch]``.
            coefficients: ``[steps, members, fields]``; rows that are left over do as they like.
        """
        self._indices[: len(indices)] = indices.view(len(indices), *self._indices.shape[1:])
        steps, members, _ = coefficients.shape
        self._coefficients[:steps, :members] = coefficients
        self._now.zero_()

    def run(self) -> None:
        """Takes the next step. On a GPU all its kernels are launched at once."""
        if self._now.device.type != "cuda":
            self._run()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._run()
        self._graph.replay()

    def losses(self, taken: int) -> list[list[float]]:
        """Each member's losses before the ``taken`` updates since ``begin``."""
        return self._losses[:taken].t().tolist()

    def _run(self) -> None:
        self._compute()
        self._update()


def _flat(tensor: Tensor) -> Tensor:
    return tensor.view(len(tensor), -1)


def _flat_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _flat(tensor)


ours, aten = torch.ops.adamtune, torch.ops.aten


def _row_bytes(tensor: Tensor) -> int:
    return tensor[0].numel() * tensor.element_size()


_take = Kernel(
    "take",
    "Tensor source, Tensor index",
    ["rows"],
    lambda source, index: [(len(index), *source.shape[1:])],
    lambda source, index: [
        len(source),
        len(index),
        _row_bytes(source),
        source.stride(0) * source.element_size(),
    ],
    "a row to take is out of range",
)
_put = Kernel(
    "put",
    "Tensor rows, Tensor index, int all",
    ["target"],
    lambda rows, index, all: [(all, *rows.shape[1:])],
    lambda rows, index, all: [all, len(index), _row_bytes(rows)],
    "a place to put a row is out of range",
)
_next = Kernel(
    "next",
    "Tensor index",
    ["following"],
    lambda index: [index.shape],
    lambda index: [index.numel()],
)


def _kernels(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and kernel_library(torch.float32) is not None


def take(source: Tensor, index: Tensor, rows: Tensor) -> Bound:
    """``rows [n, ...] = source[index]``, for ``index [n]``."""
    if _kernels(source) and source[0].is_contiguous() and rows.is_contiguous():
        return Bound(ours.take.out, (source, index), {"rows": rows})
    return Bound(aten.index_select.out, (source, 0, index), {"out": rows})


def put(rows: Tensor, index: Tensor, target: Tensor) -> Bound:
    """``target[index] = rows``."""
    if _kernels(target) and target.is_contiguous() and rows.is_contiguous():
        return Bound(ours.put.out, (rows, index, len(target)), {"target": target})
    return Bound(aten.index_copy_.default, (target, 0, index, rows), {})


def advance(index: Tensor) -> Bound:
    """``index += 1``."""
    if _kernels(index):
        return Bound(ours.next.out, (index,), {"following": index})
    return Bound(aten.add_.Scalar, (index, 1), {})
