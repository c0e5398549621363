"""A task's loss, gradients and scores for many members at once, as tapes."""

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
from adamtune.tasks.base import Rows, Task

Parameters = Mapping[str, Tensor]
"""By name, each ``[members, *shape]``."""

MEASURED = 4
"""Members whose working memory is measured together, because they share a layer's scratch memory."""

# Tracing changes state that torch keeps for the whole process; replays need no lock.
_RECORDING = Lock()


def capture_gradients(task: Task, parameters: Parameters, batch: Rows, shared: bool) -> Capture:
    """A tape from parameters and batch to ``(losses [members], gradients by name)``.

    Args:
        task: what is trained.
        parameters: where the parameters will be at each replay.
        batch: where the batch will be: ``[batch, ...]`` if ``shared``, else ``[members, batch, ...]``.
        shared: whether all members train on the same batch.

    Raises:
        CannotCapture: the model cannot be trained in lockstep; the message says why.
    """
    module = _skeleton(task, parameters)

    def compute(parameters: Parameters, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: each.detach().requires_grad_() for name, each in parameters.items()}
        over = (0, None if shared else 0)
        losses = vmap(lambda own, rows: task.loss(_with(module, own), rows), over)(leaves, batch)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        if any(each is None for each in found):
            raise CannotCapture("some of its weights have no gradient")
        # The optimizer's pass wants each gradient laid out as its parameters are.
        return losses, {name: each.contiguous() for name, each in zip(leaves, found, strict=True)}

    return _record(compute, parameters, batch)


def capture_scores(task: Task, parameters: Parameters, rows: Rows) -> Capture:
    """A tape from parameters to the task's scores over ``rows``, by name, each ``[members]``."""
    module = _skeleton(task, parameters).eval()

    @torch.no_grad()
    def compute(parameters: Parameters) -> dict[str, Tensor]:
        return dict(vmap(lambda own: task.scores(_with(module, own), rows))(parameters))

    return _record(compute, parameters)


def working_memory(task: Task) -> int:
    """Bytes that one member's training step writes to, on the CPU in float32.

    Raises:
        CannotCapture: the model cannot be trained in lockstep.
    """
    source = Source(task, torch.device("cpu"), torch.float32)
    parameters = {name: torch.stack([value] * MEASURED) for name, value in source.initial(0, 0).items()}
    batch = tuple(rows[: task.batch_size].clone() for rows in source.train)
    capture_scores(task, parameters, source.validation)
    return capture_gradients(task, parameters, batch, shared=True).memory // MEASURED


def _record(compute: Callable[..., Any], *inputs: Any) -> Capture:
    # Attention that torch's own modules compute reaches the kernel that has a batching rule.
    with _RECORDING, BatchingRules(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        try:
            return Capture(compute, *inputs)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            if memory_error(error) is not None:
                raise  # another engine would find no more of it
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise CannotCapture(lines[0]) from error


def _skeleton(task: Task, parameters: Parameters) -> torch.nn.Module:
    """The model's structure, where and in which precision its parameters are; its weights are never used."""
    with _RECORDING, torch.random.fork_rng(devices=[]):
        module = task.build()
    if not all(each.requires_grad for each in module.parameters()):
        raise CannotCapture("some of its weights are frozen")
    first = next(iter(parameters.values()))
    return module.to(first.device, first.dtype)


def _with(module: torch.nn.Module, parameters: Parameters) -> Callable[..., Tensor]:
    return lambda *inputs: functional_call(module, dict(parameters), inputs)
