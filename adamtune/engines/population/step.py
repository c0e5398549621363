"""One optimizer step of a group of members, as a replay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from adamtune.engines.native.loader import kernel_library
from adamtune.engines.native.operators import Kernel
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.draws import Draws, Key
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.population.replay import KernelCall, compile_calls
from adamtune.engines.population.update import FIELDS, Part, State, bind_update
from adamtune.tasks.pytree import leaves, map_rows

STRETCH = 128
"""The most steps whose batches and coefficients are placed on the device at a time."""


class Step:
    """Gathers the batch, computes every member's gradient and updates its parameters.

    Batches and coefficients of the next steps lie on the device in one tensor each, and a counter there says
    which step is next. So a step needs nothing from Python, and on a GPU all its kernels are one CUDA graph.

    Args:
        task: the task that all members train.
        parameters: by name, ``[members, *shape]``; each step changes them and the states in place.
        kept: buffers and frozen parameters by name, ``[members, *shape]``; each step changes the buffers.
        states: the optimizer states by parameter name, each tensor of the parameter's shape.
        shared: whether all members train on the same batch.
        needed: the parts of the elementwise pass that some member needs.
    """

    def __init__(
        self,
        task: BatchedTask,
        parameters: Mapping[str, Tensor],
        kept: Mapping[str, Tensor],
        states: Mapping[str, State],
        shared: bool,
        needed: Terms,
    ) -> None:
        first = next(iter(parameters.values()))
        members, length = len(first), min(STRETCH, task.source.task.evaluate_every)
        size, dtype = task.source.task.batch_size, task.source.dtype
        lead = (size,) if shared else (members, size)
        self._next = torch.zeros(1, dtype=torch.int64, device=first.device)
        self._indices = self._next.new_zeros(length, *lead)
        self._coefficients = first.new_zeros(length, members, FIELDS, dtype=dtype)
        self._losses = first.new_zeros(length, members, dtype=dtype)
        # The current step's slices are copied out, because a replay reads the same memory each time.
        index, packed = self._indices[:1].clone(), self._coefficients[:1].clone()
        rows = list(leaves(task.source.train))
        gathered = [each[index.flatten()] for each in rows]
        own = iter(gathered)
        batch = map_rows(lambda each: next(own).view(*lead, *each.shape[1:]), task.source.train)
        self._draws = Draws(members, first.device)
        capture = task.gradients(parameters, kept, batch, shared, self._draws)
        losses, gradients = capture.outputs
        self._compute = compile_calls(
            [
                take(self._indices, self._next, index),
                take(self._coefficients, self._next, packed),
                *(take(each, index.flatten(), out) for each, out in zip(rows, gathered, strict=True)),
                *capture.program,
                put(losses.unsqueeze(0), self._next, self._losses),
                increment(self._next),
            ]
        )
        # The elementwise pass treats a tensor's elements alike: its shape past the members does not matter.
        parts = [
            Part(_flat(parameters[name]), _flat(gradients[name]), State(*map(_flat_or_none, states[name])))
            for name in gradients
        ]
        self._update = bind_update(parts, packed[0], needed)
        self._graph: torch.cuda.CUDAGraph | None = None

    def begin(self, indices: Tensor, coefficients: Tensor) -> None:
        """Places the batches and coefficients of the next steps on the device, ``STRETCH`` steps at most.

        Args:
            indices: training rows of each batch, int64 ``[steps, batch]`` or ``[steps, members, batch]``.
            coefficients: ``[steps, members, fields]``. Members may be fewer than the step's rows: the rows
                past them have no member, and it does not matter what is computed in them.
        """
        self._indices[: len(indices)] = indices.view(len(indices), *self._indices.shape[1:])
        steps, members, _ = coefficients.shape
        self._coefficients[:steps, :members] = coefficients
        self._next.zero_()

    def run(self, keys: Callable[[], Sequence[Key]]) -> None:
        """Takes the next step. On a GPU all its kernels are launched at once, if none draws random numbers.

        Args:
            keys: gives what the random draws of each member's step derive from.
        """
        if self._draws.used:
            self._draws.seed(keys())
        if self._next.device.type != "cuda" or self._draws.used:
            self._run()
            return
        if self._graph is None:
            # Capturing a CUDA graph does not run its kernels; the replay below does.
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._run()
        self._graph.replay()

    def losses(self, taken: int) -> list[list[float]]:
        """Each member's losses before each of the ``taken`` updates since ``begin``. Waits for the device."""
        return self._losses[:taken].t().tolist()

    def _run(self) -> None:
        self._compute()
        self._update()


def _flat(tensor: Tensor) -> Tensor:
    # As in torch.optim, the real and imaginary parts of a complex number are two numbers.
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return real.view(len(tensor), -1)


def _flat_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _flat(tensor)


ours, aten = torch.ops.adamtune, torch.ops.aten


def _row_bytes(tensor: Tensor) -> int:
    return tensor[0].numel() * tensor.element_size()


# Copies of rows of any type, as kernels: between the other kernels of a step, calls of torch would end the
# one call of C that all of them are.
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


def _has_kernels(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and kernel_library(torch.float32) is not None


def take(source: Tensor, index: Tensor, rows: Tensor) -> KernelCall:
    """The call ``rows = source[index]``.

    Args:
        source: ``[all, ...]``.
        index: int64 ``[n]``.
        rows: ``[n, ...]``, which the call writes to.

    Raises:
        ValueError: the rows do not fit the source in shape or type.
    """
    if rows.shape[1:] != source.shape[1:] or rows.dtype != source.dtype or len(rows) != len(index):
        raise ValueError(f"rows {tuple(rows.shape)} {rows.dtype} of {tuple(source.shape)} {source.dtype}")
    if _has_kernels(source) and source[0].is_contiguous() and rows.is_contiguous():
        return KernelCall(ours.take.out, (source, index), {"rows": rows})
    return KernelCall(aten.index_select.out, (source, 0, index), {"out": rows})


def put(rows: Tensor, index: Tensor, target: Tensor) -> KernelCall:
    """The call ``target[index] = rows``.

    Args:
        rows: ``[n, ...]``.
        index: int64 ``[n]``.
        target: ``[all, ...]``, which the call writes to.

    Raises:
        ValueError: the rows do not fit the target in shape or type.
    """
    if rows.shape[1:] != target.shape[1:] or rows.dtype != target.dtype or len(rows) != len(index):
        raise ValueError(f"rows {tuple(rows.shape)} {rows.dtype} for {tuple(target.shape)} {target.dtype}")
    if _has_kernels(target) and target.is_contiguous() and rows.is_contiguous():
        return KernelCall(ours.put.out, (rows, index, len(target)), {"target": target})
    return KernelCall(aten.index_copy_.default, (target, 0, index, rows), {})


def increment(index: Tensor) -> KernelCall:
    """The call ``index += 1``, for ``index`` int64 ``[n]``."""
    if _has_kernels(index):
        return KernelCall(ours.next.out, (index,), {"following": index})
    return KernelCall(aten.add_.Scalar, (index, 1), {})
