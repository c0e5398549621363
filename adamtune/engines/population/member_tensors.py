"""The tensors of a group, with a row for each member: parameters, buffers, the optimizers' state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from adamtune.engines.base import Member, Source
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.loss_scaling import LossScaling
from adamtune.engines.population.update_state import NO_STATE, State, grow_state

NAMES_0_1_0 = {
    "buffer": "exp_avg",
    "square": "exp_avg_sq",
    "mean": "grad_avg",
    "peak": "max_exp_avg_sq",
}
"""The names of the optimizer state in checkpoints of adamtune 0.1.0."""


class FirstRows(NamedTuple):
    """The first rows of all tensors, as views.

    Attributes:
        parameters: the trained parameters by name, ``[rows, *shape]``.
        kept: buffers and frozen parameters by name.
        states: the state of the rules by the name of its parameter.
        scaling: the scale of each member's loss; None where losses are not scaled.
    """

    parameters: dict[str, Tensor]
    kept: dict[str, Tensor]
    states: dict[str, State]
    scaling: LossScaling | None


class MemberTensors:
    """Tensors ``[capacity, ...]``, which the first member makes.

    Args:
        source: the task and its models.
        trained: the names of the parameters that are trained.
        capacity: the most members at once.

    Attributes:
        parameters, kept, states: as in ``FirstRows``, with all rows.
    """

    def __init__(self, source: Source, trained: Sequence[str], capacity: int) -> None:
        self._source, self._trained, self._capacity = source, trained, capacity
        self.parameters: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.states: dict[str, State] = {}
        self._scaling: LossScaling | None = None
        if source.task.recipe.loss_scale:
            self._scaling = LossScaling.rows(capacity, source.dtype, source.device)

    def begin(self, row: int, member: Member) -> None:
        """Puts a member's starting weights into a row, and zeros into its state."""
        initial = self._source.initial(member.seed, member.replicate)
        if not self.parameters:
            rows = {name: value.new_zeros(self._capacity, *value.shape) for name, value in initial.items()}
            self.parameters = {name: rows.pop(name) for name in self._trained}
            self.kept, self.states = rows, dict.fromkeys(self.parameters, NO_STATE)
        for name, value in initial.items():
            (self.parameters if name in self.parameters else self.kept)[name][row] = value
        # The row may hold the NaN of a member that diverged in it.
        for state in self.states.values():
            for buffer in state:
                if buffer is not None:
                    buffer[row] = 0
        if self._scaling is not None:
            self._scaling.clear(row)

    def move(self, last: int, row: int) -> None:
        """Copies one row to another one."""
        for tensor in self._named().values():
            tensor[row] = tensor[last]

    def grow(self, needed: Terms) -> bool:
        """Adds state that is needed for the first time, which begins at zero; whether there was any."""
        grown = {
            name: grow_state(state, self.parameters[name], needed) for name, state in self.states.items()
        }
        before, self.states = self.states, grown
        return any(
            new is not old for name in grown for new, old in zip(grown[name], before[name], strict=True)
        )

    def first(self, width: int) -> FirstRows:
        """The first rows."""
        return FirstRows(
            {name: value[:width] for name, value in self.parameters.items()},
            {name: value[:width] for name, value in self.kept.items()},
            {
                name: State(*(None if buffer is None else buffer[:width] for buffer in state))
                for name, state in self.states.items()
            },
            self._scaling and LossScaling(*(each[:width] for each in self._scaling)),
        )

    @contextmanager
    def starting(self, rows: FirstRows, member: Member) -> Iterator[None]:
        """While it is entered, all rows have starting weights: a NaN may raise an error."""
        tensors = {**rows.parameters, **rows.kept}
        initial = self._source.initial(member.seed, member.replicate)
        before = {name: each.clone() for name, each in tensors.items()}
        for name, each in tensors.items():
            each.copy_(initial[name])
        try:
            yield
        finally:
            for name, each in tensors.items():
                each.copy_(before[name])

    def state(self, count: int) -> dict[str, Tensor]:
        """Copies of the first rows on the CPU: "parameter.NAME", "kept.NAME", "exp_avg.NAME" and so on."""
        return {name: tensor[:count].to("cpu", copy=True) for name, tensor in self._named().items()}

    def restore(self, count: int, saved: Mapping[str, Tensor]) -> None:
        """Puts what ``state`` returned into the first rows, which members have begun."""
        for key, value in saved.items():
            field, name = key.split(".", 1)
            field = NAMES_0_1_0.get(field, field)
            if field in ("parameter", "kept"):
                (self.parameters if field == "parameter" else self.kept)[name][:count] = value
                continue
            if field == "scaling":
                getattr(self._scaling, name)[:count] = value
                continue
            buffer = getattr(self.states[name], field)
            if buffer is None:
                buffer = torch.zeros_like(self.parameters[name])
                self.states[name] = self.states[name]._replace(**{field: buffer})
            buffer[:count] = value

    def _named(self) -> dict[str, Tensor]:
        found = {f"parameter.{name}": value for name, value in self.parameters.items()}
        found |= {f"kept.{name}": value for name, value in self.kept.items()}
        if self._scaling is not None:
            found |= {f"scaling.{name}": value for name, value in self._scaling._asdict().items()}
        for name, state in self.states.items():
            for key, buffer in zip(State._fields, state, strict=True):
                if buffer is not None:
                    found[f"{key}.{name}"] = buffer
        return found
