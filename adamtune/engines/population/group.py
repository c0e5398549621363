"""Members of one task whose steps are computed together by one thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.base import Evaluation, Member, evaluation
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.draws import Key
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.population.lookahead import ActiveMember, Lookahead, make_lookahead
from adamtune.engines.population.member_tensors import MemberTensors
from adamtune.engines.population.scores import Scorer
from adamtune.engines.population.step import Step, stretch
from adamtune.tasks.randomness import batch_indices


class Group:
    """Up to ``capacity`` members in the first rows of tensors ``[capacity, ...]``.

    When a member leaves, the last one takes its row. So the rows in use stay together, and a step computes no
    more rows than it needs: all of them, or the half, a quarter and so on that has all members.

    Args:
        task: the task that all members train, and its data.
        capacity: the most members at once.

    Attributes:
        active: the members in training, in the order of their rows.
        seconds: wall time since the last evaluation.
    """

    def __init__(self, task: BatchedTask, capacity: int) -> None:
        self.task, self.source, self.capacity = task, task.source, capacity
        self._tensors = MemberTensors(task.source, task.trained(), capacity)
        self.active: list[ActiveMember] = []
        self.seconds = 0.0
        self._lookahead: Lookahead | None = None
        self._steps: dict[tuple[int, bool, Terms], Step] = {}
        self._scorer = Scorer(task)

    def admit(self, member: Member) -> None:
        """Gives a member the next row, its starting weights and a state of zeros.

        Raises:
            ValueError: the other members are between two evaluations.
        """
        if any(each.losses for each in self.active):
            raise ValueError(f"trial {member.trial} is admitted before the others' evaluation")
        self._tensors.begin(len(self.active), member)
        self.active.append(ActiveMember(member))

    def release(self, member: Member) -> None:
        """Frees a member's row and moves the last member there."""
        row = next(row for row, each in enumerate(self.active) if each.member is member)
        last = len(self.active) - 1
        if row < last:
            self._tensors.move(last, row)
        self.active[row] = self.active[last]
        self.active.pop()

    def train(self, pause: Callable[[], bool]) -> bool:
        """Trains every member to its next evaluation.

        Args:
            pause: asked before each step; when it returns True, training stops there.

        Returns:
            Whether all members have reached their evaluations.
        """
        began = perf_counter()
        with torch.no_grad():
            while (left := max(self._stop(each) - each.step for each in self.active)) and not pause():
                self._take_steps(min(left, stretch(self.source.task.recipe)), pause)
        self.seconds += perf_counter() - began
        return not left

    def _stop(self, each: ActiveMember) -> int:
        """The step of a member's next evaluation."""
        # From the step of its last one, because a member that has just reached the next waits there.
        return self.source.next_evaluation(each.step - len(each.losses))

    def _take_steps(self, steps: int, pause: Callable[[], bool]) -> None:
        """Takes up to ``steps`` steps; a member that has reached its evaluation does not count them."""
        starts, stops = [each.step for each in self.active], [self._stop(each) for each in self.active]
        # Neutral coefficients keep the weights of a member that waits, but each step changes its buffers.
        waiting = [row for row, (start, stop) in enumerate(zip(starts, stops, strict=True)) if start == stop]
        kept = self._tensors.kept
        if kept:
            steps = min(
                [steps, *(stop - start for start, stop in zip(starts, stops, strict=True) if stop > start)]
            )
        before = {name: each[waiting] for name, each in kept.items()} if waiting else {}
        lookahead = self._lookahead_for(steps)
        offset = starts[0] - lookahead.starts[0]
        # Members at one step of one replicate have one batch: it is gathered once, without a dimension of
        # members.
        shared = len({(each.member.seed, each.member.replicate, each.step) for each in self.active}) == 1
        width = self._width()
        step = self._step(width, shared, lookahead.needed)
        step.begin(
            self._indices(starts, stops, steps, 1 if shared else width),
            lookahead.packed[offset : offset + steps],
        )
        taken = 0
        while taken < steps and not pause():
            for row in step.run(partial(self._keys, taken), partial(_training, starts, stops, taken)):
                # Its loss is NaN; its weights raise no more errors.
                self._tensors.begin(row, self.active[row].member)
            taken += 1
            if self._count_skipped(step.skipped()):
                self._lookahead = None  # the coefficients of the next steps are others
                break
        for name, value in before.items():
            kept[name][waiting] = value
        # The losses have the step's width, which may be more rows than there are members.
        for each, stop, losses in zip(self.active, stops, step.losses(taken), strict=False):
            each.losses += losses[: stop - each.step]
            each.step = min(stop, each.step + taken)

    def evaluate(self) -> list[Evaluation]:
        """Scores every member. Members that have finished or diverged leave.

        Returns:
            One evaluation a member, in the order of their rows; each has an equal part of the seconds.
        """
        began = perf_counter()
        with torch.no_grad():
            scores = self._scorer.score(
                self._tensors.parameters, self._tensors.kept, self.active, self._width()
            )
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
        if self.source.holdouts:
            evaluations = list(map(self._with_holdouts, range(len(evaluations)), evaluations))
        # The last one leaves first: the last row is free without moving another member.
        for each, made in reversed(list(zip(self.active, evaluations, strict=True))):
            each.losses = []
            if made.finished or made.diverged_at is not None:
                self.release(made.member)
        return evaluations

    def _with_holdouts(self, row: int, made: Evaluation) -> Evaluation:
        """The evaluation of the member of a row with the metrics of the holdouts, if it has finished."""
        if not made.succeeded:
            return made
        found = self._scorer.score_holdouts(
            self._tensors.parameters, self._tensors.kept, row, self.active[row]
        )
        return made._replace(metrics={**made.metrics, **found})

    def _keys(self, taken: int, batch: int) -> list[Key]:
        """What each member's draws derive from, at a batch of the step ``taken`` steps after its last."""
        count = self.source.task.recipe.accumulate
        return [
            Key(each.member.seed, each.member.replicate, (each.step + taken) * count + batch)
            for each in self.active
        ]

    def _count_skipped(self, skipped: Sequence[bool]) -> bool:
        """Counts the members that have skipped a step; whether there are any."""
        before = sum(each.skipped for each in self.active)
        for each, own in zip(self.active, skipped, strict=False):
            each.skipped += own
        return sum(each.skipped for each in self.active) > before

    def _lookahead_for(self, steps: int) -> Lookahead:
        """A lookahead that covers the next steps: the present one, or a new one."""
        lookahead = self._lookahead
        if lookahead is None or not lookahead.covers(self.active, steps):
            source = self.source
            lookahead = make_lookahead(self.active, source.task.steps, source.dtype, source.device)
            self._lookahead = lookahead
        return lookahead

    def _indices(self, starts: Sequence[int], stops: Sequence[int], steps: int, width: int) -> Tensor:
        """The training rows of each row's batches, int64 ``[batches of all steps, width, batch]``.

        Past a member's evaluation, and in rows without a member, it is the first training row over and over.
        """
        task, count = self.source.task, self.source.task.recipe.accumulate
        result = torch.zeros(steps * count, width, task.batch_size, dtype=torch.int64)
        for row, (each, start, stop) in enumerate(zip(self.active[:width], starts, stops, strict=False)):
            end = min(stop, start + steps)
            result[: (end - start) * count, row] = batch_indices(
                task, each.member.seed, each.member.replicate, start * count, end * count
            )
        return result.to(self.source.device)

    def _step(self, width: int, shared: bool, needed: Terms) -> Step:
        """The captured step of ``width`` rows."""
        if self._tensors.grow(needed):
            self._steps.clear()  # they were captured without the new state
        key = width, shared, needed
        if key not in self._steps:
            rows = self._tensors.first(width)
            with self._tensors.starting(rows, self.active[0].member):
                self._steps[key] = Step(self.task, rows, shared, needed)
        return self._steps[key]

    def _width(self) -> int:
        """The rows to compute: the capacity halved as often as it still covers the members.

        Few widths, because each is captured on its own.
        """
        width = self.capacity
        while (width + 1) // 2 >= len(self.active) and width > 1:
            width = (width + 1) // 2
        return width

    def state(self) -> dict[str, Any]:
        """Each member's step and losses, and copies of its rows of every tensor on the CPU."""
        count = len(self.active)
        return {
            "steps": [each.step for each in self.active],
            "losses": [list(each.losses) for each in self.active],
            "skipped": [each.skipped for each in self.active],
            "seconds": self.seconds,
            "tensors": self._tensors.state(count),
        }

    def restore(self, members: Sequence[Member], state: Mapping[str, Any]) -> None:
        """Puts the members of a state into a group without members.

        Args:
            members: the members, in the order of their rows.
            state: what ``state`` returned.
        """
        # Admission makes the tensors; what it puts into them is overwritten below.
        for member in members:
            self.admit(member)
        counts = state.get("skipped", [0] * len(members))  # 0.3.0 did not scale losses
        self.active = [
            ActiveMember(member, step, list(losses), skipped)
            for member, step, losses, skipped in zip(
                members, state["steps"], state["losses"], counts, strict=True
            )
        ]
        self.seconds = state["seconds"]
        self._tensors.restore(len(members), state["tensors"])


def _training(starts: Sequence[int], stops: Sequence[int], taken: int) -> list[int]:
    """The rows of the members that have not reached their evaluations after so many steps."""
    return [row for row, (start, stop) in enumerate(zip(starts, stops, strict=True)) if start + taken < stop]
