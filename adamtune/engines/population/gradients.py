"""Captures of a task's losses, gradients and scores for many members at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamtune.engines.base import Source
from adamtune.engines.batching.mode import BatchingRules
from adamtune.engines.population.capture import CannotCapture, Capture
from adamtune.errors import memory_error
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask

Parameters = Mapping[str, Tensor]
"""The parameters of all members by name, each ``[members, *shape]``."""

MEASURED = 4
"""Members whose working set is measured together, because they share a layer's scratch memory."""

# Tracing changes state that torch keeps for the whole process, so one thread captures at a time.
_CAPTURING = Lock()


def capture_gradients(task: LoadedTask, parameters: Parameters, batch: Rows, shared: bool) -> Capture:
    """A capture from parameters and batch to ``(losses [members], gradients by name [members, *shape])``.

    Args:
        task: the task that all members train.
        parameters: tensors that hold the parameters at each replay, ``[members, *shape]``.
        batch: tensors that hold the batch at each replay, ``[batch, ...]`` if ``shared``, else
            ``[members, batch, ...]``.
        shared: whether all members train on the same batch.

    Raises:
        CannotCapture: the model cannot be trained in lockstep; the message says why.
    """
    module = _structure(task, parameters)

    def compute(parameters: Parameters, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: each.detach().requires_grad_() for name, each in parameters.items()}
        dims = (0, None if shared else 0)
        losses = vmap(lambda own, rows: task.loss(_with(module, own), rows), dims)(leaves, batch)
        # No loss depends on another member's parameters, so the gradient of the sum is each member's own.
        found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        if any(each is None for each in found):
            # torch.optim leaves them alone; the elementwise pass would decay them.
            raise CannotCapture("some of the model's weights have no gradient")
        # The elementwise pass needs each gradient laid out as its parameters are.
        return losses, {name: each.contiguous() for name, each in zip(leaves, found, strict=True)}

    return _capture(compute, parameters, batch)


def capture_scores(task: LoadedTask, parameters: Parameters, rows: Rows) -> Capture:
    """A capture from parameters to the task's scores over ``rows``, by name, each ``[members]``.

    Args:
        task: the task that all members train.
        parameters: tensors that hold the parameters at each replay, ``[members, *shape]``.
        rows: the validation rows.

    Raises:
        CannotCapture: the model cannot be scored in lockstep; the message says why.
    """
    module = _structure(task, parameters).eval()

    @torch.no_grad()
    def compute(parameters: Parameters) -> dict[str, Tensor]:
        return dict(vmap(lambda own: task.scores(_with(module, own), rows))(parameters))

    return _capture(compute, parameters)


def working_set(task: LoadedTask) -> int:
    """The working set of one member's step in bytes: what the step writes to, on the CPU in float32.

    Raises:
        CannotCapture: the model cannot be trained in lockstep; the message says why.
    """
    source = Source(task, torch.device("cpu"), torch.float32)
    parameters = {name: torch.stack([value] * MEASURED) for name, value in source.initial(0, 0).items()}
    batch = tuple(rows[: task.batch_size].clone() for rows in source.train)
    # For its exception alone: a model whose scores cannot be captured cannot be trained in lockstep either.
    capture_scores(task, parameters, source.validation)
    return capture_gradients(task, parameters, batch, shared=True).memory // MEASURED


def _capture(compute: Callable[..., Any], *inputs: Any) -> Capture:
    """The capture of a function, with batching rules. Raises CannotCapture with a message of one line."""
    # With MATH, torch's own modules compute attention by the function that has a batching rule.
    with _CAPTURING, BatchingRules(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        try:
            return Capture(compute, *inputs)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            if memory_error(error) is not None:
                raise  # the sequential engine would run out of memory, too
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise CannotCapture(lines[0]) from error


def _structure(task: LoadedTask, parameters: Parameters) -> torch.nn.Module:
    """The model on the parameters' device and in their precision; its own weights are never used.

    Raises:
        CannotCapture: some of the model's weights are frozen.
    """
    # The lock, because building draws from torch's global generator, whose state is put back afterwards.
    with _CAPTURING, torch.random.fork_rng(devices=[]):
        module = task.build()
    if not all(each.requires_grad for each in module.parameters()):
        raise CannotCapture("some of the model's weights are frozen")
    first = next(iter(parameters.values()))
    return module.to(first.device, first.dtype)


def _with(module: torch.nn.Module, parameters: Parameters) -> Callable[..., Tensor]:
    """The module as a function of its inputs, with one member's parameters."""
    return lambda *inputs: functional_call(module, dict(parameters), inputs)
