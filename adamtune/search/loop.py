"""The loop of a search: fill free slots, train, record, commit, until every trial has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby, islice
from time import perf_counter
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial

from adamtune.catalog import ONE_MINUS
from adamtune.engines.base import Engine, Evaluation
from adamtune.errors import AdamtuneError
from adamtune.search.curves import Curves
from adamtune.search.faults import training_faults
from adamtune.search.programs import Programs
from adamtune.search.progress import Reason
from adamtune.search.pruners import pruning_study
from adamtune.search.samplers.per_trial import VIEWS, PerTrialSampler
from adamtune.search.suggestions import Suggestions
from adamtune.search.tracker import Tracker
from adamtune.search.trial import RunningTrial, Tasks, members
from adamtune.storage.attributes import write_trial
from adamtune.storage.optuna_private import TrialsView, study_id, trial_id
from adamtune.storage.records import TrialRecord, record_of
from adamtune.storage.session import Session

COMMIT_SECONDS = 1.5
"""Seconds between two commits: a crash costs about so much work, which is repeated identically."""


class Loop:
    """Trains the remaining trials of a study.

    Args:
        session: the study.
        engine: trains the members; it has none at first.
        tasks: the study's tasks.
        tracker: counts the trials.
    """

    def __init__(self, session: Session, engine: Engine, tasks: Tasks | Programs, tracker: Tracker) -> None:
        self._session, self._engine, self._tasks, self._tracker = session, engine, tasks, tracker
        self._config, self._study = session.config, session.study
        view = VIEWS.get(self._config.search.sampler, TrialsView)
        sampler = PerTrialSampler(self._config, tasks.steps, lambda: tracker.done)
        self._sampling = view(self._study.study_name, session.storage, sampler)
        self._pruning = pruning_study(self._config, self._study, tasks)
        self._suggestions = Suggestions(self._config.space)
        searched = sorted(self._config.space.searched)
        # Optuna has these as they are searched, such as one_minus_beta1.
        self._transformed = [name.removeprefix(ONE_MINUS) for name in searched if name.startswith(ONE_MINUS)]
        self._curves = Curves(session)
        self._trainings: dict[int, RunningTrial] = {}
        self._paused = False
        self._committed = perf_counter()

    def run(self, stop: Callable[[], Reason | None], observe: Callable[[], None]) -> Reason:
        """Trains until no trial remains or ``stop`` gives a reason; then everything is committed.

        Raises:
            AdamtuneError: the task failed, or the storage did; the last commit stands.
        """

        def pause() -> bool:
            return stop() is not None or perf_counter() - self._committed > COMMIT_SECONDS

        self._curves.update()
        while (reason := stop()) is None and (
            self._fill() or self._trainings or self._session.wait_for_others()
        ):
            with training_faults(self._config.name):
                evaluations = self._engine.advance(pause)
            self._paused = not evaluations and bool(self._trainings)
            self._record(evaluations)
            self._check_failures()
            if perf_counter() - self._committed > COMMIT_SECONDS:
                self._commit()
            observe()
        self._commit()
        self._session.finish_commit()
        self._session.leave(self._trainings)
        return reason or "complete"

    def _fill(self) -> bool:
        """Begins trials while there are slots for their members; whether any was begun."""
        free = self._engine.slots // self._config.search.seeds - len(self._trainings)
        if self._paused or not free:
            return False
        self._session.finish_commit()
        orphans = self._session.take_over(self._trainings, free)
        if orphans is not None:
            self._tracker.recount()  # Optuna's cache learns of the orphans by it, too
        begun = [each for trial_id in orphans or () if (each := self._begin_anew(trial_id)) is not None]
        remaining = max(0, self._config.trials - self._tracker.begun)
        begun += islice(iter(self._ask, None), min(free - len(begun), remaining))
        with training_faults(self._config.name):
            self._engine.admit([member for training in begun for member in training.members])
        return bool(begun)

    def _ask(self) -> RunningTrial | None:
        with self._session.transaction():
            trial = self._session.ask(self._sampling)
            if trial is None:
                return None
            self._tracker.begin()
            return self._suggest(trial)

    def _begin_anew(self, trial_id: int) -> RunningTrial | None:
        """Begins a trial of a dead process again, from its first step."""
        try:
            return self._suggest(Trial(self._sampling, trial_id))
        except UpdateFinishedTrialError:  # the process was merely slow, and finished it a moment ago
            return None

    def _suggest(self, trial: Trial) -> RunningTrial:
        with self._session.transaction():
            settings = self._suggestions.suggest(trial)
            flat = {name: settings[name] for name in self._transformed if name in settings}
            write_trial(self._session.storage, trial_id(trial), {"settings": settings}, flat)
        return self._begin(trial, settings)

    def _begin(self, trial: Trial, settings: Mapping[str, Any], seconds: float = 0.0) -> RunningTrial:
        with training_faults(self._config.name):
            tasks: Any = self._tasks
            task = tasks.of(settings)
        training = RunningTrial(trial, members(self._config, trial.number, settings, task), seconds)
        self._trainings[trial.number] = training
        return training

    def _record(self, evaluations: list[Evaluation]) -> None:
        """Keeps the evaluations with the trials, and takes trials that ended out of training."""
        if evaluations:
            self._session.finish_commit()
            with self._session.transaction():
                self._tracker.end(self._ended(evaluations, self._session.beat(self._trainings)))
                self._curves.update()
        else:
            self._tracker.end([])
        self._tracker.under_way = sum(each.fraction for each in self._trainings.values())

    def _ended(self, evaluations: list[Evaluation], lost: set[int]) -> list[TrialRecord]:
        """The trials that ended with these evaluations, which are kept; not those that others took over."""
        ended = []
        for number, own in groupby(evaluations, key=lambda each: each.member.trial):
            training = self._trainings[number]
            found = list(own)
            if number in lost:
                self._let_go(training, found)
                continue
            try:
                state = training.record(self._pruning, self._config.objective.metric, found)
            except UpdateFinishedTrialError:  # another process took it over, and finished it in this moment
                self._let_go(training, found)
                continue
            if state is not None:
                self._let_go(training, found)
                ended.append(record_of(self._session.storage.get_trial(trial_id(training.trial))))
        return ended

    def _check_failures(self) -> None:
        """Commits and raises AdamtuneError if too many trials have failed one after the other."""
        failures, most = self._tracker.failures, self._config.search.max_failures
        if failures < most:
            return
        self._commit()
        self._session.finish_commit()
        self._session.leave(self._trainings)
        raise AdamtuneError(
            f"study {self._config.name}: {failures} trials failed one after the other."
            f" {self._tracker.last_failure}\nWhat ended before is kept: mend the task, then run the same"
            " command again (search.max_failures is the number of failures that end a search)."
        )

    def _let_go(self, training: RunningTrial, found: list[Evaluation]) -> None:
        del self._trainings[training.trial.number]
        gone = {each.member for each in found if each.ends}
        self._engine.release([member for member in training.members if member not in gone])

    def _commit(self) -> None:
        """Begins a commit, with the state for ``restore`` if trials are in training.

        It is written while training continues, and waited for before the study changes.
        """
        state = None
        if self._trainings:
            running = [
                {"number": number, "seconds": each.seconds} for number, each in self._trainings.items()
            ]
            with training_faults(self._config.name):
                state = {
                    "running": running,
                    "paused": self._paused,
                    "slots": self._engine.slots,
                    "engine": self._engine.state(),
                }
        self._session.begin_commit(state)
        self._committed = perf_counter()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues training from a committed ``state``."""
        for saved in state["running"]:
            number = self._session.storage.get_trial_id_from_study_id_trial_number(
                study_id(self._study), saved["number"]
            )
            trial = Trial(self._study, number)
            self._begin(trial, trial.user_attrs["settings"], saved["seconds"])
        restored = [member for training in self._trainings.values() for member in training.members]
        with training_faults(self._config.name):
            self._engine.restore(restored, state["engine"])
        self._paused = state["paused"]
