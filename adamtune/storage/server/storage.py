"""A study on a database server: heartbeats, and the trials of dead processes that others take over.

A heartbeat is a row of Optuna's table ``trial_heartbeats``: a trial and the time of its last sign of life.
``ServerStorage.beat`` writes them, ``ServerStorage.take_over`` looks for old ones, and the loop of a search
calls both through ``SharedSession``.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, delete, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction
from typing_extensions import override

from adamtune.storage import processes
from adamtune.storage.optuna_private import RUNG, NewTrialHooks, server_tables
from adamtune.storage.optuna_private import trial_id as id_of_trial
from adamtune.storage.processes import COUNTED, OWNER, NoTrialRemains, ProcessStorage

UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
"""Heartbeats are compared across processes, whatever the time zone of each."""

LONG_AGO = datetime(2000, 1, 1)
"""The heartbeat of a trial that any process may take over at once."""

_TRIALS, _HEARTBEATS, _INTERMEDIATE, _ATTRS, _USER_ATTRS = server_tables()


class ServerStorage(NewTrialHooks, RDBStorage, ProcessStorage):
    """Optuna's storage with heartbeats for ``ask`` and ``tell``; Optuna's own work in ``optimize`` alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._me = json.dumps(uuid.uuid4().hex)
        # By trial without a heartbeat: when this process first saw it.
        self._first_seen: dict[int, float] = {}
        self._limits: dict[int, int] = {}
        if self.engine.dialect.name in UTC:
            event.listen(self.engine, "connect", self._in_utc)
            self.engine.dispose()  # the connections that were made before

    def _in_utc(self, connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(UTC[self.engine.dialect.name])
        cursor.close()
        # PostgreSQL takes a setting back when its transaction is rolled back.
        connection.commit()

    @override
    def limit(self, study_id: int, trials: int) -> None:
        self._limits[study_id] = trials

    @override
    def before_new_trial(self, study_id: int, session: Transaction) -> None:
        # The study is locked: of processes that ask for the last trial at once, one gets it.
        if study_id in self._limits:
            counted = _TRIALS.c.study_id == study_id, _TRIALS.c.state.in_(COUNTED)
            count = session.execute(select(func.count()).select_from(_TRIALS).where(*counted)).scalar_one()
            # Raised in Optuna's transaction, so the new trial is rolled back.
            if count >= self._limits[study_id]:
                raise NoTrialRemains

    @override
    def after_new_trial(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.RUNNING:
            self.record_heartbeat(id_of_trial(trial))

    @override
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        changed = super().set_trial_state_values(trial_id, state, values)
        if changed and state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return changed

    def has_waiting(self, study_id: int) -> bool:
        """Whether a trial of the study was enqueued and is not trained yet."""
        waiting = _TRIALS.c.study_id == study_id, _TRIALS.c.state == TrialState.WAITING
        query = select(_TRIALS.c.trial_id).where(*waiting).limit(1)
        with self.engine.begin() as connection:
            return connection.execute(query).first() is not None

    def set_trial_user_attrs(self, trial_id: int, values: Mapping[str, Any]) -> None:
        """Sets user attributes of a trial, by name: three statements, where Optuna has several for each."""
        texts = ((key, json.dumps(value)) for key, value in values.items())
        rows = [{"trial_id": trial_id, "key": key, "value_json": text} for key, text in texts]
        trial = select(_TRIALS.c.state).where(_TRIALS.c.trial_id == trial_id).with_for_update()
        before = _USER_ATTRS.c.trial_id == trial_id, _USER_ATTRS.c.key.in_(values)
        with self.engine.begin() as connection:
            self.check_trial_is_updatable(trial_id, connection.execute(trial).scalar_one())
            connection.execute(delete(_USER_ATTRS).where(*before))
            connection.execute(insert(_USER_ATTRS), rows)

    @override
    def close(self) -> None:
        self.remove_session()
        self.engine.dispose()

    @override
    def beat(self, trial_ids: Collection[int], since: datetime | None = None) -> set[int]:
        # Of the time ``since``, UTC; now if None.
        of_others = _ATTRS.c.key == OWNER, _ATTRS.c.value_json != self._me
        with self.engine.begin() as connection:
            query = select(_ATTRS.c.trial_id).where(_ATTRS.c.trial_id.in_(trial_ids), *of_others)
            lost = set(connection.execute(query).scalars())
            own = update(_HEARTBEATS).where(_HEARTBEATS.c.trial_id.in_(set(trial_ids) - lost))
            # The time of the server: the clocks of the processes may differ.
            connection.execute(own.values(heartbeat=since or func.now()))
        return lost

    @override
    def leave(self, trial_ids: Collection[int]) -> None:
        self.beat(trial_ids, LONG_AGO)

    @override
    def remove_evaluations(self, trial_id: int, steps: Sequence[int]) -> None:
        rows = _INTERMEDIATE.c.trial_id == trial_id, _INTERMEDIATE.c.step.in_(steps)
        with self.engine.begin() as connection:
            connection.execute(delete(_INTERMEDIATE).where(*rows))

    @override
    def take_over(self, study_id: int, own: Collection[int], most: int) -> list[int]:
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
            if len(claimed) < most and trial_id not in own and self._is_silent(trial_id, heartbeat, now):
                claimed += [trial_id] if self._claim(trial_id, heartbeat) else []
        return claimed

    def _is_silent(self, trial_id: int, heartbeat: datetime | None, now: datetime) -> bool:
        if heartbeat is not None:
            return now - heartbeat > timedelta(seconds=processes.GRACE_SECONDS)
        # Its process died between creating the trial and its first heartbeat, or is about to send it.
        return (
            time.monotonic() - self._first_seen.setdefault(trial_id, time.monotonic())
            > processes.GRACE_SECONDS
        )

    def _claim(self, trial_id: int, heartbeat: datetime | None) -> bool:
        """Takes a trial over; False if another process did since the heartbeat was read."""
        try:
            with self.engine.begin() as connection:
                if heartbeat is None:
                    connection.execute(insert(_HEARTBEATS).values(trial_id=trial_id, heartbeat=func.now()))
                else:
                    seen = _HEARTBEATS.c.trial_id == trial_id, _HEARTBEATS.c.heartbeat == heartbeat
                    query = update(_HEARTBEATS).where(*seen).values(heartbeat=func.now())
                    # Another process has renewed the heartbeat since it was read.
                    if connection.execute(query).rowcount == 0:
                        return False
                self._begin_anew(connection, trial_id)
        except IntegrityError:  # another process was first
            return False
        return True

    def _begin_anew(self, connection: Connection, trial_id: int) -> None:
        """Deletes what was reported of the trial, and makes this process its owner."""
        connection.execute(delete(_INTERMEDIATE).where(_INTERMEDIATE.c.trial_id == trial_id))
        judged = _ATTRS.c.key.startswith(RUNG, autoescape=True)
        stale = _ATTRS.c.trial_id == trial_id, judged | (_ATTRS.c.key == OWNER)
        connection.execute(delete(_ATTRS).where(*stale))
        connection.execute(insert(_ATTRS).values(trial_id=trial_id, key=OWNER, value_json=self._me))
