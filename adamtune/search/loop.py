"""The loop: fill free slots, train, record, commit, until every trial is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby, islice
from time import perf_counter, sleep
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from adamtune.engines.protocol import Engine, Evaluation
from adamtune.search.faults import training_faults
from adamtune.search.observed import VIEWS
from adamtune.search.opened import Opened
from adamtune.search.progress import Finished, Reason
from adamtune.search.samplers import ByNumber
from adamtune.search.standing import Standing
from adamtune.search.suggest import suggest
from adamtune.search.trials import Tasks, Training, members
from adamtune.storage.records import state_of

COMMIT_SECONDS = 1.5
"""A crash costs at most about so much work; what is done again is done identically."""

WAIT_SECONDS = 1.0


class Loop:
    """Trains the trials that a study owes.

    Args:
        opened: the study.
        engine: what trains; without members.
        tasks: the study's tasks.
        standing: what watchers are told; kept up to date.
    """

    def __init__(self, opened: Opened, engine: Engine, tasks: Tasks, standing: Standing) -> None:
        self._opened, self._engine, self._tasks, self._standing = opened, engine, tasks, standing
        self._file, self._study = opened.file, opened.study
        view = VIEWS.get(self._file.search.sampler, Study)
        sampler = ByNumber(self._file, lambda: standing.done)
        self._asking = view(self._study.study_name, opened.storage, sampler)
        self._trainings: dict[int, Training] = {}
        self._paused = False
        self._committed = perf_counter()

    def run(self, stop: Callable[[], Reason | None], observe: Callable[[], None]) -> Reason:
        """Goes on until nothing is owed, or ``stop`` gives a reason; everything is committed then.

        Raises:
            AdamtuneError: the task failed, or the storage did; the last commit stands.
        """

        def pause() -> bool:
            return stop() is not None or perf_counter() - self._committed > COMMIT_SECONDS

        while (reason := stop()) is None and (self._fill() or self._trainings or self._others_train()):
            with training_faults(self._file.name):
                evaluations = self._engine.advance(pause)
            self._paused = not evaluations and bool(self._trainings)
            self._record(evaluations)
            if perf_counter() - self._committed > COMMIT_SECONDS:
                self._commit()
            observe()
        self._commit()
        self._opened.finish_commit()
        self._opened.leave(self._trainings)
        return reason or "complete"

    def _fill(self) -> bool:
        """Begins trials while there are slots for their members; whether any was begun."""
        free = self._engine.slots // self._file.search.seeds - len(self._trainings)
        if self._paused or not free:
            return False
        self._opened.finish_commit()
        orphans = self._opened.orphans(self._trainings, free)
        if self._opened.shared:
            self._standing.recount()  # Optuna's cache learns of the orphans by it, too
        begun = [each for trial_id in orphans if (each := self._take_up(trial_id)) is not None]
        owed = max(0, self._file.trials - self._standing.asked)
        begun += islice(iter(self._ask, None), min(free - len(begun), owed))
        with training_faults(self._file.name):
            self._engine.admit([member for training in begun for member in training.members])
        return bool(begun)

    def _others_train(self) -> bool:
        """Whether other processes train what is left; waits a little, for one may leave it to this one."""
        others = self._opened.shared and self._standing.counts["running"] > 0
        if others:
            sleep(WAIT_SECONDS)
        return others

    def _ask(self) -> Training | None:
        trial = self._opened.ask(self._asking)
        if trial is None:
            return None
        self._standing.begin()
        return self._suggest(trial)

    def _take_up(self, trial_id: int) -> Training | None:
        """Begins anew a trial whose process died; on a database server alone."""
        try:
            return self._suggest(Trial(self._asking, trial_id))
        except UpdateFinishedTrialError:  # the process was merely slow, and finished it a moment ago
            return None

    def _suggest(self, trial: Trial) -> Training:
        settings = suggest(trial, self._file.space)
        trial.set_user_attr("settings", settings)
        return self._begin(trial, settings)

    def _begin(self, trial: Trial, settings: Mapping[str, Any], seconds: float = 0.0) -> Training:
        with training_faults(self._file.name):
            task = self._tasks.of(settings)
        training = Training(trial, members(self._file, trial.number, settings, task), seconds)
        self._trainings[trial.number] = training
        return training

    def _record(self, evaluations: list[Evaluation]) -> None:
        """Keeps what was found with the trials, and takes those that ended out of training."""
        lost: set[int] = set()
        if evaluations:
            self._opened.finish_commit()
            lost = self._opened.beat(self._trainings)
        ended = []
        for number, own in groupby(evaluations, key=lambda each: each.member.trial):
            training = self._trainings[number]
            found = list(own)
            if number in lost:
                self._let_go(training, found)
                continue
            state = training.record(self._study, self._file.objective.metric, found)
            if state is not None:
                self._let_go(training, found)
                ended.append(self._finished(training, state))
        self._standing.end(ended)
        self._standing.under_way = sum(each.fraction for each in self._trainings.values())

    def _let_go(self, training: Training, found: list[Evaluation]) -> None:
        del self._trainings[training.trial.number]
        gone = {each.member for each in found if each.finished or each.diverged_at is not None}
        self._engine.release([member for member in training.members if member not in gone])

    def _finished(self, training: Training, state: TrialState) -> Finished:
        trial = self._opened.storage.get_trial(training.trial._trial_id)
        if state == TrialState.COMPLETE:
            self._standing.offer(trial)
        return Finished(trial.number, state_of(state.name, "diverged_at" in trial.user_attrs), trial.value)

    def _commit(self) -> None:
        """Begins a commit, with everything that ``restore`` needs if trials are in training.

        It is made while the next stretch is trained, and waited for before anything of the study changes.
        """
        state = None
        if self._trainings:
            running = [
                {"number": number, "seconds": each.seconds} for number, each in self._trainings.items()
            ]
            with training_faults(self._file.name):
                state = {"running": running, "paused": self._paused, "engine": self._engine.state()}
        self._opened.begin_commit(state)
        self._committed = perf_counter()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up training where ``state`` was committed."""
        for saved in state["running"]:
            trial_id = self._opened.storage.get_trial_id_from_study_id_trial_number(
                self._study._study_id, saved["number"]
            )
            trial = Trial(self._study, trial_id)
            self._begin(trial, trial.user_attrs["settings"], saved["seconds"])
        restored = [member for training in self._trainings.values() for member in training.members]
        with training_faults(self._file.name):
            self._engine.restore(restored, state["engine"])
        self._paused = state["paused"]
