"""What is known of the trials of a journal, so that a question about few of them reads few."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState


class TrialsById(Sequence[FrozenTrial]):
    """Trials in the order of their ids, which may change later."""

    def __init__(self, ids: Sequence[int], trials: Mapping[int, FrozenTrial]) -> None:
        self._ids, self._trials = ids, trials

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: Any) -> Any:
        return self._trials[self._ids[place]]


class TrialIndex:
    """The states of trials: what a question about few of them would otherwise read all for.

    Attributes:
        counts: how many trials there are, by study and state.
        unfinished: the ids of the trials of each study that have not ended, in order of creation.
    """

    def __init__(self) -> None:
        self._states: dict[int, TrialState] = {}
        self.counts: Counter[tuple[int, TrialState | None]] = Counter()
        self.unfinished: defaultdict[int, dict[int, None]] = defaultdict(dict)

    def update(self, study_id: int, trial_id: int, state: TrialState) -> None:
        """Notes the state of a trial, which may be another than before."""
        before = self._states.get(trial_id)
        if before == state:
            return
        self.counts[study_id, before] -= 1
        self._states[trial_id] = state
        self.counts[study_id, state] += 1
        if state.is_finished():
            self.unfinished[study_id].pop(trial_id, None)
        else:
            self.unfinished[study_id][trial_id] = None
