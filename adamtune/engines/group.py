"""Members of one task that are trained as one batched computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from adamtune.engines import batched
from adamtune.engines.plan import Plan, Seat, make_plan
from adamtune.engines.protocol import Evaluation, Member
from adamtune.engines.source import Source, evaluation
from adamtune.engines.step import STRETCH, Step
from adamtune.engines.tape import Tape
from adamtune.optimizers.coefficients import Terms
from adamtune.optimizers.elementwise import State
from adamtune.tasks.batches import batch_indices

EVALUATED = 4
"""Members are evaluated together as long as their rows are at most this many batches a member."""


class Group:
    """Up to ``capacity`` members, in the first rows of tensors ``[capacity, ...]``.

    When a member leaves, the last one takes its row. So the rows in use stay together, and the
    computation is only as wide as it has to be.
    """

    def __init__(self, source: Source, capacity: int) -> None:
        self.source, self.capacity = source, capacity
        self.seats: list[Seat] = []
        self.seconds = 0.0
        self._parameters: dict[str, Tensor] = {}
        self._states: dict[str, State] = {}
        self._plan: Plan | None = None
        self._steps: dict[tuple[int, bool, Terms], Step] = {}
        self._scorers: dict[int, tuple[dict[str, Tensor], Tape]] = {}

    def admit(self, member: Member) -> None:
        """Gives a member the next row, its starting weights and an empty optimizer state.

        Raises ValueError if the others are on their way to an evaluation.
        """
        if any(seat.losses for seat in self.seats):
            raise ValueError(f"trial {member.trial} is admitted before the others' evaluation")
        row = len(self.seats)
        initial = self.source.initial(member.seed, member.replicate)
        if not self._parameters:
            self._parameters = {
                name: value.new_zeros(self.capacity, *value.shape) for name, value in initial.items()
            }
            self._states = {name: State(None, None, None, None) for name in initial}
        for name, value in initial.items():
            self._parameters[name][row] = value
            for buffer in self._states[name]:
                if buffer is not None:
                    buffer[row] = 0
        self.seats.append(Seat(member))

    def release(self, member: Member) -> None:
        """Frees a member's row, for the last one to move there."""
        row = next(row for row, seat in enumerate(self.seats) if seat.member is member)
        last = len(self.seats) - 1
        if row < last:
            for tensor in self._tensors().values():
                tensor[row] = tensor[last]
        self.seats[row] = self.seats[last]
        self.seats.pop()

    def train(self, pause: Callable[[], bool]) -> bool:
        """Trains towards every member's next evaluation; whether all are there."""
        began = perf_counter()
        with torch.no_grad():
            while (left := max(self._stop(seat) - seat.step for seat in self.seats)) and not pause():
                self._take(min(left, STRETCH), pause)
        self.seconds += perf_counter() - began
        return not left

    def _stop(self, seat: Seat) -> int:
        """The step of the evaluation that a member is on its way to."""
        return self.source.next_evaluation(seat.step - len(seat.losses))

    def _take(self, steps: int, pause: Callable[[], bool]) -> None:
        """Takes ``steps`` steps, fewer if ``pause`` says so; none for members that are at their stop."""
        starts, stops = [seat.step for seat in self.seats], [self._stop(seat) for seat in self.seats]
        plan = self._plan_for(steps)
        offset = starts[0] - plan.starts[0]
        shared = len({(seat.member.seed, seat.member.replicate, seat.step) for seat in self.seats}) == 1
        width = self._width()
        step = self._step(width, shared, plan.needed)
        step.begin(
            self._indices(starts, stops, steps, 1 if shared else width), plan.packed[offset : offset + steps]
        )
        taken = 0
        while taken < steps and not pause():
            step.run()
            taken += 1
        for seat, stop, losses in zip(self.seats, stops, step.losses(taken), strict=False):
            seat.losses += losses[: stop - seat.step]
            seat.step = min(stop, seat.step + taken)

    def evaluate(self) -> list[Evaluation]:
        """Scores every member; those that have finished or diverged leave."""
        began = perf_counter()
        with torch.no_grad():
            scores = self._score()
        self.seconds += perf_counter() - began
        share, self.seconds = self.seconds / len(self.seats), 0.0
        evaluations = [
            evaluation(
                seat.member,
                seat.step,
                seat.losses,
                {name: values[row] for name, values in scores.items()},
                share,
            )
            for row, seat in enumerate(self.seats)
        ]
        # The last leaves first: a row that leaves from the end needs no other moved into its place.
        for seat, each in reversed(list(zip(self.seats, evaluations, strict=True))):
            seat.losses = []
            if each.finished or each.diverged_at is not None:
                self.release(each.member)
        return evaluations

    def _plan_for(self, steps: int) -> Plan:
        """What the next ``steps`` steps do; planned anew when members came or went, or it is used up."""
        plan = self._plan
        if plan is None or not plan.covers(self.seats, steps):
            plan = self._plan = make_plan(self.seats, self.source.task.steps, self._dtype, self._device)
        return plan

    def _indices(self, starts: Sequence[int], stops: Sequence[int], steps: int, width: int) -> Tensor:
        """Each row's batches ``[steps, width, batch]``; any batch where there is nothing to train."""
        task = self.source.task
        result = torch.zeros(steps, width, task.batch_size, dtype=torch.int64)
        for row, (seat, start, stop) in enumerate(zip(self.seats[:width], starts, stops, strict=False)):
            end = min(stop, start + steps)
            result[: end - start, row] = batch_indices(
                task, seat.member.seed, seat.member.replicate, start, end
            )
        return result.to(self._device)

    def _score(self) -> dict[str, list[float]]:
        """Each member's scores, some members at a time."""
        width = self._scored_at_once()
        own, tape = self._scorer(width)
        found: dict[str, list[float]] = {}
        for first in range(0, len(self.seats), width):
            count = min(width, len(self.seats) - first)
            for name, value in own.items():
                value[:count] = self._parameters[name][first : first + count]
            tape.replay()
            for name, scores in tape.outputs.items():
                found.setdefault(name, []).extend(scores[:count].tolist())
        return found

    def _scored_at_once(self) -> int:
        rows = len(self.source.validation[0])
        fitting = EVALUATED * self._width() * self.source.task.batch_size // rows
        return max(1, min(fitting, self._width()))

    def _scorer(self, width: int) -> tuple[dict[str, Tensor], Tape]:
        if width not in self._scorers:
            own = {name: value[:width].clone() for name, value in self._parameters.items()}
            self._scorers[width] = own, batched.scores(self.source.task, own, self.source.validation)
        return self._scorers[width]

    def _step(self, width: int, shared: bool, needed: Terms) -> Step:
        """The recorded step of that width; states that are needed for the first time begin at zero."""
        wanted = State(needed.buffer, needed.square, needed.mean, needed.peak)  # type: ignore[arg-type]
        for name, state in self._states.items():
            grown = [
                torch.zeros_like(self._parameters[name]) if want and buffer is None else buffer
                for want, buffer in zip(wanted, state, strict=True)
            ]
            if any(new is not old for new, old in zip(grown, state, strict=True)):
                self._states[name] = State(*grown)
                self._steps.clear()
        key = width, shared, needed
        if key not in self._steps:
            parameters = {name: value[:width] for name, value in self._parameters.items()}
            states = {
                name: State(*(None if buffer is None else buffer[:width] for buffer in state))
                for name, state in self._states.items()
            }
            self._steps[key] = Step(self.source.task, self.source.train, parameters, states, shared, needed)
        return self._steps[key]

    def _width(self) -> int:
        """The rows to compute: all, or the half, quarter, ... that still covers the members."""
        width = self.capacity
        while (width + 1) // 2 >= len(self.seats) and width > 1:
            width = (width + 1) // 2
        return width

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters.values())).device

    @property
    def _dtype(self) -> torch.dtype:
        return next(iter(self._parameters.values())).dtype

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that has a row for each member, by name."""
        found = {f"parameter.{name}": value for name, value in self._parameters.items()}
        for name, state in self._states.items():
            for key, buffer in zip(State._fields, state, strict=True):
                if buffer is not None:
                    found[f"{key}.{name}"] = buffer
        return found

    def state(self) -> dict[str, Any]:
        """Each member's step and copies of its rows of every tensor, on the CPU."""
        count = len(self.seats)
        return {
            "steps": [seat.step for seat in self.seats],
            "losses": [list(seat.losses) for seat in self.seats],
            "seconds": self.seconds,
            "tensors": {
                name: tensor[:count].to("cpu", copy=True) for name, tensor in self._tensors().items()
            },
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """The reverse of ``state``, for a group without members."""
        for member in members:
            self.admit(member)
        self.seats = [
            Seat(member, step, list(losses))
            for member, step, losses in zip(members, state["steps"], state["losses"], strict=True)
        ]
        self.seconds = state["seconds"]
        for key, value in state["tensors"].items():
            field, name = key.split(".", 1)
            if field == "parameter":
                self._parameters[name][: len(members)] = value
                continue
            buffer = getattr(self._states[name], field)
            if buffer is None:
                buffer = torch.zeros_like(self._parameters[name])
                self._states[name] = self._states[name]._replace(**{field: buffer})
            buffer[: len(members)] = value
