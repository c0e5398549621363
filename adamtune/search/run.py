"""Runs a search: opens the study that a file asks for, plans its training, and runs the loop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Any

import optuna
from pydantic import ValidationError

from adamtune.config import StudyConfig
from adamtune.engines.plan import Plan, is_available, make_plan
from adamtune.errors import Refused, UsageError
from adamtune.search.faults import training_faults
from adamtune.search.loop import Loop
from adamtune.search.progress import Observer, Outcome, Reason
from adamtune.search.pruners import pruner
from adamtune.search.tracker import Tracker
from adamtune.search.trial import Tasks
from adamtune.storage.local.lock import study_lock
from adamtune.storage.location import local_path
from adamtune.storage.open_session import open_session
from adamtune.storage.reading import read_study
from adamtune.storage.server.connection import server_errors
from adamtune.storage.session import Session
from adamtune.tasks.base import Task
from adamtune.tasks.registry import TASKS


def run(config: StudyConfig, observe: Observer, abandon: bool = False) -> Outcome:
    """Trains the remaining trials of a study file, in a new study or in the one of that name.

    Args:
        file: the study config.
        observe: called after every round.
        abandon: give up the trials that were in training in a local file, and their checkpoint.

    Raises:
        Refused: the study exists with other settings or data, or another process runs it.
        UsageError: the task's settings do not fit its data, or the device is not there.
        AdamtuneError: the run failed; what was committed is kept.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared = local_path(config.storage) is None
    guard = server_errors(config.storage) if shared else study_lock(config.storage, config.name)
    with guard, closing(open_session(config)) as session:
        if abandon:
            session.discard_running()
        return _search(session, observe)


def resume(
    location: str, name: str, overrides: Mapping[str, Any], observe: Observer, abandon: bool = False
) -> Outcome:
    """``run`` of a study as the storage knows it.

    Args:
        location: the storage.
        name: the study.
        overrides: ``search.trials`` and ``search.timeout``, where they are to change.
        observe: called after every round.
        abandon: as ``run``.

    Raises:
        UsageError: there is no such study, or an override is wrong.
        AdamtuneError: as ``run``.
    """
    record = read_study(location, name)
    if record.study is None:
        raise UsageError(f"study {name} was not made by adamtune: it cannot be resumed")
    canonical = dict(record.study)
    changes = {key.removeprefix("search."): value for key, value in overrides.items()}
    config = StudyConfig.from_canonical(
        canonical | {"name": name, "storage": location}, record.study_file or ""
    )
    try:
        search = type(config.search).model_validate({**config.search.model_dump(), **changes})
    except ValidationError as error:
        problems = (f"--{each['loc'][0]}: found {each['input']}: {each['msg']}" for each in error.errors())
        raise UsageError("\n".join(problems)) from error
    return run(config.model_copy(update={"search": search}), observe, abandon)


def _search(session: Session, observe: Observer) -> Outcome:
    config, study = session.config, session.study
    tracker = Tracker(study, config.objective.metric, config.trials)
    saved = session.checkpoint()
    if saved is None and not tracker.counts["running"] and tracker.asked >= config.trials:
        return Outcome("already_complete", tracker.progress())
    tasks = Tasks(config)
    try:
        with training_faults(config.name):
            task = tasks.of({})
            _check_data(session, task)
            plan = _plan(session, task)
    except UsageError:
        session.delete_if_empty()  # it is not to be listed as a study that was begun
        raise
    tracker.note(plan.why)
    study.pruner = pruner(config.search.pruner, task.evaluate_every, task.steps)
    loop = Loop(session, plan.build(config.trials * config.search.seeds), tasks, tracker)
    if saved is not None:
        loop.restore(saved)
    with _interruptions(lambda: tracker.note(STOPPING)) as interrupted:

        def stop() -> Reason | None:
            if interrupted():
                return "interrupted"
            timeout = config.search.timeout
            return "timeout" if timeout is not None and tracker.elapsed > timeout else None

        reason = loop.run(stop, lambda: observe(tracker.progress()))
    return Outcome(reason, tracker.progress())


def _check_data(session: Session, task: Task) -> None:
    """Keeps the data's hash with a new study. Raises Refused if an existing one was trained on other data."""
    kept = session.attribute("data_hash")
    if kept is None:
        session.set_attribute("data_hash", task.data_hash)
    elif kept != task.data_hash:
        raise Refused(
            f"study {session.config.name} was trained on other data: its hash is {kept[:12]}, now it is"
            f" {task.data_hash[:12]}. Put the old data back (the same Python and scikit-learn"
            " versions, too), or start a new study with --name."
        )


def _plan(session: Session, task: Task) -> Plan:
    """How the study is trained: decided once, so that a resumed study goes on as it began."""
    kept, config = session.attribute("plan"), session.config
    if kept is not None:
        plan = Plan(**kept)
        if not is_available(plan.device):
            raise UsageError(
                f"study {config.name} was begun on {plan.device}, which is not available here."
                " Resume it where it is available, or start a new study with --name."
            )
        return plan
    plan = make_plan(
        task,
        config.engine,
        config.population,
        config.device,
        config.trials,
        config.search.seeds,
        config.optimizers,
        TASKS[config.task.name].settings.model_validate(config.task.settings).step_bytes(),
    )
    session.set_attribute("plan", asdict(plan))
    return plan


STOPPING = "stopping: what is done is being saved; Ctrl-C again stops at once"


@contextmanager
def _interruptions(told: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came. The first calls ``told``; the second ends at once."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        told()

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
