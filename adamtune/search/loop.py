"""The loop: fill free slots, train, record, commit, until every trial is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from time import perf_counter
from typing import Any

from optuna.study import Study
from optuna.trial import Trial, TrialState

from adamtune.config import Study as StudyFile
from adamtune.engines.protocol import Engine, Evaluation
from adamtune.search.observed import VIEWS
from adamtune.search.progress import Finished, Reason
from adamtune.search.samplers import grid_size
from adamtune.search.standing import Standing
from adamtune.search.suggest import suggest
from adamtune.search.trials import Tasks, Training, members
from adamtune.storage.records import state_of

COMMIT_SECONDS = 1.5
"""A crash costs at most about so much work; what is done again is done identically."""

Commit = Callable[[Mapping[str, Any] | None], None]
"""Makes every change durable, with the state to go on from (None: nothing is in training)."""


class Loop:
    """Trains the trials that a study owes.

    Args:
        file: the study file.
        study: the Optuna study.
        engine: what trains; without members.
        tasks: the study's tasks.
        standing: what watchers are told; kept up to date.
        commit: see ``Commit``.
    """

    def __init__(
        self, file: StudyFile, study: Study, engine: Engine, tasks: Tasks, standing: Standing, commit: Commit
    ) -> None:
        self.file, self.study, self.engine, self.tasks = file, study, engine, tasks
        self.standing = standing
        view = VIEWS.get(file.search.sampler, Study)
        self._asking = view(study.study_name, study._storage, study.sampler, study.pruner)
        self._commit = commit
        self._trainings: dict[int, Training] = {}
        self._committed = perf_counter()

    def run(self, stop: Callable[[], Reason | None], observe: Callable[[], None]) -> Reason:
        """Goes on until nothing is owed, or ``stop`` gives a reason; everything is committed then."""
        reason = stop()
        while reason is None and (self._fill() or self._trainings):
            self._record(self.engine.advance())
            if perf_counter() - self._committed > COMMIT_SECONDS:
                self.commit()
            observe()
            reason = stop()
        self.commit()
        return reason or "complete"

    def _fill(self) -> bool:
        """Asks for trials while there are slots for their members; whether any was begun."""
        seeds = self.file.search.seeds
        free = self.engine.slots // seeds - len(self._trainings)
        begun = [self._ask() for _ in range(min(free, self.owed))]
        self.engine.admit([member for training in begun for member in training.members])
        return bool(begun)

    @property
    def owed(self) -> int:
        """Trials that are yet to be asked for."""
        return max(0, total_trials(self.file) - self.standing.asked)

    def _ask(self) -> Training:
        trial = self._asking.ask()
        settings = suggest(trial, self.file.space)
        trial.set_user_attr("settings", settings)
        self.standing.begin()
        return self._begin(trial, settings)

    def _begin(self, trial: Trial, settings: Mapping[str, Any], seconds: float = 0.0) -> Training:
        training = Training(
            trial, members(self.file, trial.number, settings, self.tasks.of(settings)), seconds
        )
        self._trainings[trial.number] = training
        return training

    def _record(self, evaluations: list[Evaluation]) -> None:
        """Keeps what was found with the trials, and takes those that ended out of training."""
        ended = []
        for number, own in groupby(evaluations, key=lambda each: each.member.trial):
            training = self._trainings[number]
            found = list(own)
            state = training.record(self.study, self.file.objective.metric, found)
            if state is None:
                continue
            del self._trainings[number]
            gone = {each.member for each in found if each.finished or each.diverged_at is not None}
            self.engine.release([member for member in training.members if member not in gone])
            ended.append(self._finished(training, state))
        self.standing.end(ended)

    def _finished(self, training: Training, state: TrialState) -> Finished:
        trial = self.study._storage.get_trial(training.trial._trial_id)
        if state == TrialState.COMPLETE:
            self.standing.offer(trial)
        return Finished(trial.number, state_of(state.name, "diverged_at" in trial.user_attrs), trial.value)

    def commit(self) -> None:
        """Commits, with everything that ``restore`` needs if trials are in training."""
        state = None
        if self._trainings:
            running = [
                {"number": number, "seconds": each.seconds} for number, each in self._trainings.items()
            ]
            state = {"running": running, "engine": self.engine.state()}
        self._commit(state)
        self._committed = perf_counter()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up training where ``state`` was committed."""
        for saved in state["running"]:
            trial_id = self.study._storage.get_trial_id_from_study_id_trial_number(
                self.study._study_id, saved["number"]
            )
            trial = Trial(self.study, trial_id)
            self._begin(trial, trial.user_attrs["settings"], saved["seconds"])
        self.engine.restore(
            [member for training in self._trainings.values() for member in training.members], state["engine"]
        )


def total_trials(file: StudyFile) -> int:
    """The trials of a finished study: as many as asked for, or as a grid has combinations."""
    trials = file.search.trials
    return min(trials, grid_size(file)) if file.search.sampler == "grid" else trials
