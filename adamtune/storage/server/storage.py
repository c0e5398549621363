"""A study on a database server: heartbeats, and the trials of dead processes that others take over.

A heartbeat is a row of Optuna's table ``trial_heartbeats``: a trial and the time of its last sign of life.
``ServerStorage.beat`` writes them, ``ServerStorage.take_over`` looks for old ones, and the loop of a search
calls both through ``ServerSession``.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Connection, delete, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction
from typing_extensions import override

from adamtune.config import StudyConfig
from adamtune.storage.optuna_private import NewTrialHooks, server_tables
from adamtune.storage.optuna_private import trial_id as id_of_trial
from adamtune.storage.session import Session

# A heartbeat comes with every evaluation and every commit, which are seconds apart. A minute leaves room for
# a slow task or network; after a crash, nobody waits long.
GRACE_SECONDS = 60.0
"""A running trial without a heartbeat for so long belongs to a dead process."""

COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of the trials that count towards a study's total; a failed one is replaced by another."""

WAIT_SECONDS = 1.0
"""The pause before a process without work asks again whether trials of others remain."""

UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
"""Heartbeats are compared across processes, whatever the time zone of each."""

OWNER = "adamtune:owner"
"""The system attribute of a trial that was taken over: the process that trains it since."""

CONFIRMER = "adamtune:confirmer"
"""The system attribute of a study with the process that confirms it and the time of its last sign of life."""

LONG_AGO = datetime(2000, 1, 1)
"""The heartbeat of a trial that any process may take over at once."""

_TRIALS, _HEARTBEATS, _INTERMEDIATE, _ATTRS = server_tables()


class NoTrialRemains(Exception):
    """The study has its total of trials."""


class ServerStorage(NewTrialHooks, RDBStorage):
    """Optuna's storage with heartbeats for ``ask`` and ``tell``; Optuna's own work in ``optimize`` alone.

    Every new trial has a heartbeat, which its process renews with :meth:`beat` several times in
    ``GRACE_SECONDS``. A trial that is taken over keeps its number and its parameters and is trained from its
    first step, with the same result that the dead process would have recorded.
    """

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

    def limit(self, study_id: int, trials: int) -> None:
        """Sets a study's total: with so many trials that did not fail, a new one raises NoTrialRemains."""
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

    def close(self) -> None:
        """Closes the connections."""
        self.remove_session()
        self.engine.dispose()

    def beat(self, trial_ids: Collection[int], since: datetime | None = None) -> set[int]:
        """Writes the heartbeats of trials of this process, by which other processes know that it lives.

        Args:
            trial_ids: trials that this process created or took over.
            since: the time of the heartbeat, UTC; now if None.

        Returns:
            The trials that other processes have taken over; this one may not change them any more.
        """
        of_others = _ATTRS.c.key == OWNER, _ATTRS.c.value_json != self._me
        with self.engine.begin() as connection:
            query = select(_ATTRS.c.trial_id).where(_ATTRS.c.trial_id.in_(trial_ids), *of_others)
            lost = set(connection.execute(query).scalars())
            own = update(_HEARTBEATS).where(_HEARTBEATS.c.trial_id.in_(set(trial_ids) - lost))
            # The time of the server: the clocks of the processes may differ.
            connection.execute(own.values(heartbeat=since or func.now()))
        return lost

    def leave(self, trial_ids: Collection[int]) -> None:
        """Lets any process take over these trials at once."""
        self.beat(trial_ids, LONG_AGO)

    def take_over(self, study_id: int, own: Collection[int], most: int) -> list[int]:
        """Makes this process the owner of up to ``most`` running trials whose processes are dead.

        What they reported is deleted, because pruners would judge the next report by it. If a process was
        only slow, its next call of :meth:`beat` returns the trials that it lost.

        Args:
            study_id: the study.
            own: ids of the trials that this process trains; they are not taken over.
            most: the most trials that are taken over, the oldest first.

        Returns:
            The ids of the trials that were taken over.
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
            if len(claimed) < most and trial_id not in own and self._is_silent(trial_id, heartbeat, now):
                claimed += [trial_id] if self._claim(trial_id, heartbeat) else []
        return claimed

    def _is_silent(self, trial_id: int, heartbeat: datetime | None, now: datetime) -> bool:
        if heartbeat is not None:
            return now - heartbeat > timedelta(seconds=GRACE_SECONDS)
        # Its process died between creating the trial and its first heartbeat, or is about to send it.
        return time.monotonic() - self._first_seen.setdefault(trial_id, time.monotonic()) > GRACE_SECONDS

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
        # Pruners keep the value of a trial at each rung in these attributes.
        judged = _ATTRS.c.key.startswith("completed_rung_", autoescape=True)
        stale = _ATTRS.c.trial_id == trial_id, judged | (_ATTRS.c.key == OWNER)
        connection.execute(delete(_ATTRS).where(*stale))
        connection.execute(insert(_ATTRS).values(trial_id=trial_id, key=OWNER, value_json=self._me))


class ServerSession(Session):
    """A session without commits: the server has every change at once.

    Another process trains the trials of a dead one from their first step.
    """

    def __init__(self, config: StudyConfig, storage: ServerStorage) -> None:
        super().__init__(config, storage)
        self._server, self._me, self._confirms = storage, uuid.uuid4().hex, False
        storage.limit(self._id, config.trials)

    @override
    def claim_confirmation(self) -> bool:
        claim = self._server.get_study_system_attrs(self._id).get(CONFIRMER)
        if claim and claim["process"] != self._me and time.time() - claim["time"] < GRACE_SECONDS:
            return False
        self._renew_claim()
        time.sleep(WAIT_SECONDS)  # of processes that claim it at once, the last is the one
        self._confirms = self._server.get_study_system_attrs(self._id)[CONFIRMER]["process"] == self._me
        return self._confirms

    def _renew_claim(self) -> None:
        claim: dict[str, Any] = {"process": self._me, "time": time.time()}
        self._server.set_study_system_attr(self._id, CONFIRMER, claim)

    @override
    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        if self._confirms:
            self._renew_claim()
        if state is not None:
            self.beat([each["number"] for each in state["running"]])

    @override
    def ask(self, study: Study) -> Trial | None:
        try:
            return study.ask()
        except NoTrialRemains:
            return None

    @override
    def beat(self, own: Collection[int]) -> set[int]:
        numbers = self._by_id(own)
        return {numbers[each] for each in self._server.beat(list(numbers))}

    @override
    def take_over(self, own: Collection[int], most: int) -> list[int]:
        return self._server.take_over(self._id, self._by_id(own), most)

    @override
    def wait_for_others(self) -> bool:
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            time.sleep(WAIT_SECONDS)
        return bool(running)

    @override
    def leave(self, own: Collection[int]) -> None:
        self._server.leave(list(self._by_id(own)))

    @override
    def close(self) -> None:
        self._server.close()

    def _by_id(self, numbers: Collection[int]) -> dict[int, int]:
        """The trials' numbers by id."""
        id_of = self.storage.get_trial_id_from_study_id_trial_number
        return {id_of(self._id, each): each for each in numbers}
