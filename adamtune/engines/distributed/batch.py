"""Members that go to one worker together, from their beginning or from the state of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from adamtune.engines.base import Member
from adamtune.engines.plan import Plan

State = tuple[bytes, Plan]
"""The state of an engine, and its plan."""


@dataclass(eq=False)
class Batch:
    """Members that are to go to one worker together.

    Attributes:
        members: the members by number, in order of admission; with a state, all that it has.
        gone: numbers of those of them that are in training no more.
        state: the state of an engine that trained them, and its plan; None for members at step 0.
        index: the place where they have to go; None for any.
    """

    members: dict[int, Member]
    gone: set[int] = field(default_factory=set)
    state: State | None = None
    index: int | None = None

    @property
    def left(self) -> dict[int, Member]:
        """The members that are in training."""
        return {number: each for number, each in self.members.items() if number not in self.gone}

    def saved(self, places: Mapping[int, int]) -> dict[str, Any]:
        """The batch for a checkpoint.

        A state that has members which are in training no more cannot be kept, because nobody knows them after
        a restart: the others begin anew.

        Args:
            places: the place of each number in the order of admission.
        """
        state = None
        if self.state is not None and not self.gone:
            content, plan = self.state
            state = {
                "content": torch.frombuffer(bytearray(content), dtype=torch.uint8),
                "plan": asdict(plan),
            }
        return {"members": [places[number] for number in self.left], "state": state, "index": self.index}


def restored(
    saved: Mapping[str, Any], members: Sequence[Member], numbers: Sequence[int], indices: range
) -> Batch:
    """The batch of a checkpoint.

    Args:
        saved: what ``Batch.saved`` returned.
        members: all members, in order of admission.
        numbers: their numbers.
        indices: the places where a batch may have to go.
    """
    own = {numbers[place]: members[place] for place in saved["members"]}
    state = saved["state"] and (saved["state"]["content"].numpy().tobytes(), Plan(**saved["state"]["plan"]))
    return Batch(own, state=state, index=saved["index"] if saved["index"] in indices else None)


def beginning(
    members: Iterable[tuple[int, Member]], independent: bool, index: int | None = None
) -> list[Batch]:
    """Batches of members at step 0: of those of a trial, which share batches of data, or of one each.

    Args:
        members: the members with their numbers.
        independent: whether members are trained one after the other, and so share nothing.
        index: the place where they have to go; None for any.
    """
    found: dict[int, dict[int, Member]] = {}
    for number, each in members:
        found.setdefault(number if independent else each.trial, {})[number] = each
    return [Batch(own, index=index) for own in found.values()]
