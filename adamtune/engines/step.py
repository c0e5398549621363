"""One optimizer step of a group of members, on memory that stays where it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from adamtune.engines import batched
from adamtune.engines.script import Bound, compiled
from adamtune.optimizers import elementwise
from adamtune.optimizers.coefficients import Terms
from adamtune.optimizers.elementwise import FIELDS, Part, State
from adamtune.tasks.protocol import Rows, Task


class Step:
    """Gathers the batch, computes every member's gradient and updates its parameters.

    Args:
        task: what is trained.
        rows: the training rows.
        parameters: by name, ``[members, *shape]``; changed by each run, as are the states.
        states: by name, like the parameters.
        shared: whether all members train on the same batch.
        needed: the parts of the elementwise pass that some member needs.

    Attributes:
        index: which rows are the batch, int64 ``[batch]`` or ``[members, batch]``: fill it before a run.
        packed: the members' coefficients, ``[members, fields]``: fill it before a run.
        losses: the loss of each member before the update, ``[members]``.
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
        members, lead = len(first), (task.batch_size,) if shared else (len(first), task.batch_size)
        self.index = torch.zeros(lead, dtype=torch.int64, device=first.device)
        self.packed = first.new_zeros(members, FIELDS)
        flat = self.index.flatten()
        self._gathered = [each[flat] for each in rows]
        batch = tuple(each.view(*lead, *each.shape[1:]) for each in self._gathered)
        self._gather = compiled(
            [
                Bound(torch.ops.aten.index_select.out, (each, 0, flat), {"out": gathered})
                for each, gathered in zip(rows, self._gathered, strict=True)
            ]
        )
        self._tape = batched.gradients(task, parameters, batch, shared)
        self.losses, gradients = self._tape.outputs
        parts = [
            Part(_flat(parameters[name]), _flat(gradients[name]), State(*map(_flat_or_none, states[name])))
            for name in parameters
        ]
        self._update = elementwise.bind(parts, self.packed, needed)
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        """Takes the step. On a GPU all kernels of a step are launched at once."""
        if self.index.device.type != "cuda":
            self._run()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._run()
        self._graph.replay()

    def _run(self) -> None:
        self._gather()
        self._tape.replay()
        self._update()


def _flat(tensor: Tensor) -> Tensor:
    return tensor.view(len(tensor), -1)


def _flat_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else _flat(tensor)
