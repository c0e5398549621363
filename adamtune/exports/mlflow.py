"""Runs in MLflow: an experiment for each study, with a run of the study and nested runs of its trials."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from math import isinf, isnan
from sys import float_info
from typing import Any

from adamtune.errors import AdamtuneError
from adamtune.exports.runs import Run

# Read when MLflow is imported. A server that is down is to be known in a minute, not in ten.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as Stored

for _noisy in ("alembic", "mlflow"):  # they tell of every table that they make
    logging.getLogger(_noisy).setLevel(logging.ERROR)

NAME_LENGTH, PARAM_LENGTH, TAG_LENGTH = 250, 500, 5000
"""The most characters of a name, a parameter and a tag that every MLflow since 1.0 takes."""
METRICS_PER_CALL, OTHERS_PER_CALL = 800, 100

STATUSES = {"running": "RUNNING", "failed": "FAILED", "diverged": "FAILED", "pruned": "KILLED"}
"""MLflow's status of each state; ``FINISHED`` of any other."""
PREFIX = "adamtune."


class MlflowTarget:
    """The runs of a study in MLflow.

    MLflow adds to a run and takes nothing back. A run that would have to lose something, such as one of a
    study that was deleted and made anew, is deleted there (``mlflow gc`` removes it) and written again.

    Args:
        place: the tracking URI; empty for that of the environment (``MLFLOW_TRACKING_URI``).
        study: the name of the study.
    """

    def __init__(self, place: str, study: str) -> None:
        self._client = MlflowClient(tracking_uri=place or None)
        self._experiment = self._find_experiment(study[:NAME_LENGTH])
        self._stored: dict[str, Stored] = {}
        for each in self._all_runs():
            key = each.data.tags.get(f"{PREFIX}key", "")
            if key in self._stored:  # two processes wrote it at the same time
                self._client.delete_run(each.info.run_id)
            elif key:
                self._stored[key] = each

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise AdamtuneError(
                f"the experiment {name} is deleted. Restore it (mlflow experiments restore -x"
                f" {found.experiment_id}), or remove it for good (mlflow gc)."
            )
        return str(found.experiment_id)

    def _all_runs(self) -> Iterator[Stored]:
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], order_by=["attributes.start_time ASC"], page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def write(self, run: Run) -> bool:
        """Writes a run; see ``Target.write``."""
        key = _key(run.study, run.trial)
        parent = None if run.trial is None else self._stored[_key(run.study, None)].info.run_id
        fingerprint, stored = f"{run.fingerprint} {parent}", self._stored.get(key)
        if stored and stored.data.tags.get(f"{PREFIX}fingerprint") == fingerprint:
            return False
        params, points = _params(run), dict(_named(run.points))
        logged = self._points(stored) if stored else {}
        if stored and not (_is_part(stored.data.params, params) and _is_part(logged, _flat(points))):
            self._client.delete_run(stored.info.run_id)
            stored, logged = None, {}
        if stored is None:
            stored = self._client.create_run(
                self._experiment, _milliseconds(run.begun), {f"{PREFIX}key": key}, run.name
            )
        run_id = stored.info.run_id
        if run.state == "running":
            self._client.update_run(run_id, "RUNNING")
        else:
            self._client.set_terminated(run_id, STATUSES.get(run.state, "FINISHED"), _milliseconds(run.ended))
        new = {at: value for at, value in _flat(points).items() if at not in logged}
        self._log(run_id, new, _milliseconds(run.ended), params.items() - stored.data.params.items())
        tags = dict(_named({f"{PREFIX}{name}": each for name, each in run.tags.items()}))
        tags |= {"mlflow.source.name": "adamtune", **({"mlflow.parentRunId": parent} if parent else {})}
        # The last call: an export that is killed before it writes the run again.
        tags[f"{PREFIX}fingerprint"] = fingerprint
        self._client.log_batch(run_id, tags=[RunTag(name, each[:TAG_LENGTH]) for name, each in tags.items()])
        self._stored[key] = self._client.get_run(run_id)
        return True

    def _points(self, stored: Stored) -> dict[tuple[str, int], float]:
        """The points of a run that are there."""
        run_id = stored.info.run_id
        return {
            (name, each.step): each.value
            for name in stored.data.metrics
            for each in self._client.get_metric_history(run_id, name)
        }

    def _log(
        self,
        run_id: str,
        points: Mapping[tuple[str, int], float],
        time: int,
        params: Iterable[tuple[str, str]],
    ) -> None:
        metrics = [Metric(name, value, time, step) for (name, step), value in points.items()]
        for batch in _batches(metrics, METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=batch)
        for batch in _batches([Param(*each) for each in sorted(params)], OTHERS_PER_CALL):
            self._client.log_batch(run_id, params=batch)

    def close(self) -> None:
        """Does nothing: every call has written."""


def _key(study: str, trial: int | None) -> str:
    """What a run is found by: the study, and the number of the trial or nothing."""
    return json.dumps([study, trial])


def _params(run: Run) -> dict[str, str]:
    """The parameters as MLflow has them: text."""
    return {name: _text(value)[:PARAM_LENGTH] for name, value in _named(run.params)}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else str(value)


def _flat(points: Mapping[str, Mapping[int, float]]) -> dict[tuple[str, int], float]:
    return {(name, step): value for name, own in points.items() for step, value in own.items()}


def _is_part(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether ``other`` has everything of ``one``, as MLflow gives it back."""
    return all(key in other and _returned(other[key]) == _returned(value) for key, value in one.items())


def _returned(value: Any) -> Any:
    """A value so that equal ones compare equal: MLflow's databases keep infinity as the largest number."""
    if not isinstance(value, float):
        return value
    if isnan(value):
        return "nan"
    return (1 if value > 0 else -1) * float_info.max if isinf(value) else value


def _named(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values under names that MLflow takes, each under one of its own."""
    taken = {name for name in values if _legal(name) == name}
    for name, value in values.items():
        legal = _legal(name)
        if legal != name and legal in taken:
            legal = f"{legal[: NAME_LENGTH - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        taken.add(legal)
        yield legal, value


def _legal(name: str) -> str:
    """A name of MLflow: letters, digits and ``_-. /``, and no path that is another one's."""
    legal = re.sub(r"[^\w\-. /]", "_", name)[:NAME_LENGTH]
    if posixpath.normpath(legal) != legal or legal.startswith((".", "/")):
        legal = legal.replace("/", "_").strip(".") or "_"
    return legal


def _batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch


def _milliseconds(time: datetime | None) -> int:
    """A naive UTC time as MLflow has it; now where there is none."""
    return int((time or datetime.now(UTC).replace(tzinfo=None)).replace(tzinfo=UTC).timestamp() * 1000)
