"""Optuna's storage on a database server, whose trials several processes train."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialHeartbeatModel, TrialModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from typing_extensions import override

GRACE_SECONDS = 60.0
"""A running trial without a heartbeat for so long belongs to a dead process."""

HAD = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that are not to be done again."""

_HEARTBEATS = TrialHeartbeatModel.__table__
_TRIALS = TrialModel.__table__


class NoneLeft(Exception):
    """The study has as many trials as it is to have."""


class SharedStorage(RDBStorage):
    """RDBStorage with heartbeats for ``ask`` and ``tell`` (Optuna's own are for ``optimize`` alone).

    Every new trial has a heartbeat; its process calls :meth:`beat` from then on, several times in
    ``GRACE_SECONDS``. A trial that is taken over stays the same trial, with its number and
    parameters, so training it again gives what the dead process would have recorded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_seen: dict[int, float] = {}
        self._limits: dict[int, int] = {}

    def limit(self, study_id: int, trials: int) -> None:
        """From now on NoneLeft is raised for a new trial of a study with so many that did not fail."""
        self._limits[study_id] = trials

    @override
    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        # Optuna has locked the study: of processes that ask for the last trial at once, one gets it.
        if study_id in self._limits:
            had = _TRIALS.c.study_id == study_id, _TRIALS.c.state.in_(HAD)
            count = session.execute(select(func.count()).select_from(_TRIALS).where(*had)).scalar_one()
            if count >= self._limits[study_id]:
                raise NoneLeft
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    @override
    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        if trial.state == TrialState.RUNNING:
            self.record_heartbeat(trial._trial_id)
        return trial

    @override
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        changed = super().set_trial_state_values(trial_id, state, values)
        if changed and state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return changed

    def commit(self) -> None:
        """Does nothing: the server has every change already."""

    def close(self) -> None:
        """Closes the connections."""
        self.remove_session()
        self.engine.dispose()

    def beat(self, trial_ids: Iterable[int]) -> None:
        """Tells the other processes that this one is training these trials."""
        query = update(_HEARTBEATS).where(_HEARTBEATS.c.trial_id.in_(list(trial_ids)))
        with self.engine.begin() as connection:
            connection.execute(query.values(heartbeat=func.now()))

    def take_over(self, study_id: int, most: int) -> list[int]:
        """Claims up to ``most`` running trials whose process is dead, for this process alone; their ids.

        The oldest come first, and the others are left to whoever asks next. The caller has called
        :meth:`beat` for its own trials, so that it does not claim them. A process that was merely slow may
        still finish a trial that was taken over: whichever finishes it second gets Optuna's
        UpdateFinishedTrialError, and the values are the same.
        """
        query = (
            select(_TRIALS.c.trial_id, _HEARTBEATS.c.heartbeat)
            .select_from(_TRIALS.outerjoin(_HEARTBEATS))
            .where(_TRIALS.c.study_id == study_id, _TRIALS.c.state == TrialState.RUNNING)
            .order_by(_TRIALS.c.trial_id)
        )
        with self.engine.begin() as connection:
            running = connection.execute(query).all()
            now = connection.execute(select(func.now())).scalar_one().replace(tzinfo=None)
        claimed: list[int] = []
        for trial_id, heartbeat in running:
            if len(claimed) >= most:
                break
            if heartbeat is None:
                mine = self._claim_silent(trial_id)
            elif now - heartbeat > timedelta(seconds=GRACE_SECONDS):
                mine = self._claim_stale(trial_id, heartbeat)
            else:
                mine = False
            claimed += [trial_id] if mine else []
        return claimed

    def _claim_stale(self, trial_id: int, heartbeat: Any) -> bool:
        """Of several processes that see the old heartbeat, one replaces it."""
        query = update(_HEARTBEATS).where(
            _HEARTBEATS.c.trial_id == trial_id, _HEARTBEATS.c.heartbeat == heartbeat
        )
        with self.engine.begin() as connection:
            return connection.execute(query.values(heartbeat=func.now())).rowcount == 1

    def _claim_silent(self, trial_id: int) -> bool:
        """Its process died between creating the trial and its first heartbeat, or is about to send it."""
        if time.monotonic() - self._first_seen.setdefault(trial_id, time.monotonic()) <= GRACE_SECONDS:
            return False
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(_HEARTBEATS).values(trial_id=trial_id, heartbeat=func.now()))
        except IntegrityError:  # another process was first
            return False
        return True
