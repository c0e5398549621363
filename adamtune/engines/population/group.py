"""Members of one task that are trained as one batched computation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.base import Evaluation, Member, Source, evaluation
from adamtune.engines.population.capture import Capture
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.gradients import capture_scores
from adamtune.engines.population.lookahead import ActiveMember, Lookahead, make_lookahead
from adamtune.engines.population.step import STRETCH, Step
from adamtune.engines.population.update import NO_STATE, State, grow_state
from adamtune.tasks.randomness import batch_indices

NAMES_0_1_0 = {
    "buffer": "exp_avg",
    "square": "exp_avg_sq",
    "mean": "grad_avg",
    "peak": "max_exp_avg_sq",
}
"""The names of the optimizer state in checkpoints of adamtune 0.1.0."""
EVALUATED = 4
"""Members are evaluated together as long as their rows are at most this many batches a member."""


class Group:
    """Up to ``capacity`` members, in the first rows of tensors ``[capacity, ...]``.

    When a member leaves, the last one takes its row. So the rows in use stay together, and the
    computation is only as wide as it has to be.
    """

    def __init__(self, source: Source, capacity: int) -> None:
        self.source, self.capacity = source, capacity
        self.active: list[ActiveMember] = []
        self.seconds = 0.0
        self._parameters: dict[str, Tensor] = {}
        self._states: dict[str, State] = {}
        self._lookahead: Lookahead | None = None
        self._steps: dict[tuple[int, bool, Terms], Step] = {}
        self._scorers: dict[int, tuple[dict[str, Tensor], Capture]] = {}

    def admit(self, member: Member) -> None:
        """Gives a member the next row, its starting weights and an empty optimizer state.

        Raises ValueError if the others are on their way to an evaluation.
        """
        if any(each.losses for each in self.active):
            raise ValueError(f"trial {member.trial} is admitted before the others' evaluation")
        row = len(self.active)
        initial = self.source.initial(member.seed, member.replicate)
        if not self._parameters:
            self._parameters = {
                name: value.new_zeros(self.capacity, *value.shape) for name, value in initial.items()
            }
            self._states = dict.fromkeys(initial, NO_STATE)
        for name, value in initial.items():
            self._parameters[name][row] = value
            for buffer in self._states[name]:
                if buffer is not None:
                    buffer[row] = 0
        self.active.append(ActiveMember(member))

    def release(self, member: Member) -> None:
        """Frees a member's row, for the last one to move there."""
        row = next(row for row, each in enumerate(self.active) if each.member is member)
        last = len(self.active) - 1
        if row < last:
            for tensor in self._tensors().values():
                tensor[row] = tensor[last]
        self.active[row] = self.active[last]
        self.active.pop()

    def train(self, pause: Callable[[], bool]) -> bool:
        """Trains towards every member's next evaluation; whether all are there."""
        began = perf_counter()
        with torch.no_grad():
            while (left := max(self._stop(each) - each.step for each in self.active)) and not pause():
                self._take(min(left, STRETCH), pause)
        self.seconds += perf_counter() - began
        return not left

    def _stop(self, each: ActiveMember) -> int:
        """The step of the evaluation that a member is on its way to."""
        return self.source.next_evaluation(each.step - len(each.losses))

    def _take(self, steps: int, pause: Callable[[], bool]) -> None:
        """Takes ``steps`` steps, fewer if ``pause`` says so; none for members that are at their stop."""
        starts, stops = [each.step for each in self.active], [self._stop(each) for each in self.active]
        lookahead = self._lookahead_for(steps)
        offset = starts[0] - lookahead.starts[0]
        shared = len({(each.member.seed, each.member.replicate, each.step) for each in self.active}) == 1
        width = self._width()
        step = self._step(width, shared, lookahead.needed)
        step.begin(
            self._indices(starts, stops, steps, 1 if shared else width),
            lookahead.packed[offset : offset + steps],
        )
        taken = 0
        while taken < steps and not pause():
            step.run()
            taken += 1
        for each, stop, losses in zip(self.active, stops, step.losses(taken), strict=False):
            each.losses += losses[: stop - each.step]
            each.step = min(stop, each.step + taken)

    def evaluate(self) -> list[Evaluation]:
        """Scores every member; those that have finished or diverged leave."""
        began = perf_counter()
        with torch.no_grad():
            scores = self._score()
        self.seconds += perf_counter() - began
        share, self.seconds = self.seconds / len(self.active), 0.0
        evaluations = [
            evaluation(
                each.member,
                each.step,
                each.losses,
                {name: values[row] for name, values in scores.items()},
                share,
            )
            for row, each in enumerate(self.active)
        ]
        # The last leaves first: a row that leaves from the end needs no other moved into its place.
        for each, made in reversed(list(zip(self.active, evaluations, strict=True))):
            each.losses = []
            if made.finished or made.diverged_at is not None:
                self.release(made.member)
        return evaluations

    def _lookahead_for(self, steps: int) -> Lookahead:
        """What the next ``steps`` steps do; planned anew when members came or went, or it is used up."""
        lookahead = self._lookahead
        if lookahead is None or not lookahead.covers(self.active, steps):
            lookahead = self._lookahead = make_lookahead(
                self.active, self.source.task.steps, self._dtype, self._device
            )
        return lookahead

    def _indices(self, starts: Sequence[int], stops: Sequence[int], steps: int, width: int) -> Tensor:
        """Each row's batches ``[steps, width, batch]``; any batch where there is nothing to train."""
        task = self.source.task
        result = torch.zeros(steps, width, task.batch_size, dtype=torch.int64)
        for row, (each, start, stop) in enumerate(zip(self.active[:width], starts, stops, strict=False)):
            end = min(stop, start + steps)
            result[: end - start, row] = batch_indices(
                task, each.member.seed, each.member.replicate, start, end
            )
        return result.to(self._device)

    def _score(self) -> dict[str, list[float]]:
        """Each member's scores, some members at a time."""
        width = self._scored_at_once()
        own, capture = self._scorer(width)
        found: dict[str, list[float]] = {}
        for first in range(0, len(self.active), width):
            count = min(width, len(self.active) - first)
            for name, value in own.items():
                value[:count] = self._parameters[name][first : first + count]
            capture.replay()
            for name, scores in capture.outputs.items():
                found.setdefault(name, []).extend(scores[:count].tolist())
        return found

    def _scored_at_once(self) -> int:
        rows = len(self.source.validation[0])
        fitting = EVALUATED * self._width() * self.source.task.batch_size // rows
        return max(1, min(fitting, self._width()))

    def _scorer(self, width: int) -> tuple[dict[str, Tensor], Capture]:
        if width not in self._scorers:
            own = {name: value[:width].clone() for name, value in self._parameters.items()}
            self._scorers[width] = own, capture_scores(self.source.task, own, self.source.validation)
        return self._scorers[width]

    def _step(self, width: int, shared: bool, needed: Terms) -> Step:
        """The recorded step of that width; states that are needed for the first time begin at zero."""
        for name, state in self._states.items():
            grown = grow_state(state, self._parameters[name], needed)
            if any(new is not old for new, old in zip(grown, state, strict=True)):
                self._states[name] = grown
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
        while (width + 1) // 2 >= len(self.active) and width > 1:
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
        count = len(self.active)
        return {
            "steps": [each.step for each in self.active],
            "losses": [list(each.losses) for each in self.active],
            "seconds": self.seconds,
            "tensors": {
                name: tensor[:count].to("cpu", copy=True) for name, tensor in self._tensors().items()
            },
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """The reverse of ``state``, for a group without members."""
        for member in members:
            self.admit(member)
        self.active = [
            ActiveMember(member, step, list(losses))
            for member, step, losses in zip(members, state["steps"], state["losses"], strict=True)
        ]
        self.seconds = state["seconds"]
        for key, value in state["tensors"].items():
            field, name = key.split(".", 1)
            field = NAMES_0_1_0.get(field, field)
            if field == "parameter":
                self._parameters[name][: len(members)] = value
                continue
            buffer = getattr(self._states[name], field)
            if buffer is None:
                buffer = torch.zeros_like(self._parameters[name])
                self._states[name] = self._states[name]._replace(**{field: buffer})
            buffer[: len(members)] = value
