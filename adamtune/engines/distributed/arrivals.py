"""Evaluations that workers have made, until they are returned."""

from __future__ import annotations

from collections import deque

from adamtune.engines.base import Evaluation, Member


class Arrivals:
    """The evaluations of each member that wait to be returned.

    A trial is complete when each of its members has one. In rounds, evaluations are returned when all trials
    are complete, one of each member: so the order in which workers are done decides nothing.

    Args:
        rounds: whether evaluations are returned in rounds; else those of a trial as soon as it is complete.
        lone: whether a member that has failed or diverged makes its trial complete: the others may train on.
    """

    def __init__(self, rounds: bool, lone: bool) -> None:
        self._rounds, self._lone = rounds, lone
        self._trials: dict[int, dict[int, deque[Evaluation]]] = {}
        self._complete: set[int] = set()

    def expect(self, number: int, member: Member) -> None:
        """Takes a member, whose evaluations are to come."""
        self._trials.setdefault(member.trial, {})[number] = deque()
        self._complete.discard(member.trial)

    def drop(self, number: int, member: Member) -> None:
        """Drops a member and its evaluations."""
        own = self._trials[member.trial]
        del own[number]
        self._complete.discard(member.trial)
        if not own:
            del self._trials[member.trial]
        else:
            self._check(member.trial)

    def add(self, number: int, evaluation: Evaluation) -> None:
        """Takes an evaluation of a member that is expected."""
        trial = evaluation.member.trial
        self._trials[trial][number].append(evaluation)
        self._check(trial)

    def has(self, number: int, member: Member) -> bool:
        """Whether an evaluation of a member waits."""
        return bool(self._trials[member.trial][number])

    def due(self) -> list[Evaluation]:
        """The evaluations to return, which wait no more, in order of admission."""
        if self._rounds and len(self._complete) < len(self._trials):
            return []
        found: dict[int, Evaluation] = {}
        for trial in list(self._complete):
            found |= {number: own.popleft() for number, own in self._trials[trial].items() if own}
            self._check(trial)
        return [found[number] for number in sorted(found)]

    def waiting(self) -> dict[int, list[Evaluation]]:
        """All evaluations that wait, by the numbers of their members."""
        return {
            number: list(waiting)
            for own in self._trials.values()
            for number, waiting in own.items()
            if waiting
        }

    def _check(self, trial: int) -> None:
        own = self._trials[trial].values()
        if all(own) or (self._lone and any(each[0].ends and not each[0].succeeded for each in own if each)):
            self._complete.add(trial)
        else:
            self._complete.discard(trial)
