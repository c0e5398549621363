"""Runs a search: opens the study that a file asks for, plans its training, and runs the loop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

import optuna
from pydantic import ValidationError

from adamtune.config import Study as StudyFile
from adamtune.errors import UsageError
from adamtune.search.faults import training_faults
from adamtune.search.loop import Loop
from adamtune.search.open_study import open_study
from adamtune.search.opened import Opened
from adamtune.search.progress import Outcome, Progress, Reason
from adamtune.search.pruners import pruner
from adamtune.search.standing import Standing
from adamtune.search.trials import Tasks
from adamtune.storage.location import local_path
from adamtune.storage.lock import study_lock
from adamtune.storage.reading import read_study
from adamtune.storage.server import server_faults

Observer = Callable[[Progress], None]


def run(file: StudyFile, observe: Observer, abandon: bool = False) -> Outcome:
    """Trains the trials that a study file owes, in a new study or in the one of that name.

    Args:
        file: the study file.
        observe: called after every round.
        abandon: give up the trials that were in training in a local file, and their checkpoint.

    Raises:
        Refused: the study exists with other settings or data, or another process runs it.
        UsageError: the task's settings do not fit its data, or the device is not there.
        AdamtuneError: the run failed; what was committed is kept.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared = local_path(file.storage) is None
    guard = server_faults(file.storage) if shared else study_lock(file.storage, file.name)
    with guard, closing(open_study(file)) as opened:
        if abandon:
            opened.abandon()
        return _search(opened, observe)


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
    file = StudyFile.from_canonical(canonical | {"name": name, "storage": location}, record.study_file or "")
    try:
        search = type(file.search).model_validate({**file.search.model_dump(), **changes})
    except ValidationError as error:
        problems = (f"--{each['loc'][0]}: found {each['input']}: {each['msg']}" for each in error.errors())
        raise UsageError("\n".join(problems)) from error
    return run(file.model_copy(update={"search": search}), observe, abandon)


def _search(opened: Opened, observe: Observer) -> Outcome:
    file, study = opened.file, opened.study
    standing = Standing(study, file.objective.metric, file.trials)
    saved = opened.checkpoint()
    if saved is None and not standing.counts["running"] and standing.asked >= file.trials:
        return Outcome("already_complete", standing.progress())
    tasks = Tasks(file)
    try:
        with training_faults(file.name):
            task = tasks.of({})
            opened.check_data(task)
            plan = opened.plan(task)
    except UsageError:
        opened.discard()  # it is not to be listed as a study that was begun
        raise
    standing.note(plan.why)
    study.pruner = pruner(file.search.pruner, task.evaluate_every, task.steps)
    loop = Loop(opened, plan.build(file.trials * file.search.seeds), tasks, standing)
    if saved is not None:
        loop.restore(saved)
    with _interruptions(lambda: standing.note(STOPPING)) as interrupted:

        def stop() -> Reason | None:
            if interrupted():
                return "interrupted"
            timeout = file.search.timeout
            return "timeout" if timeout is not None and standing.elapsed > timeout else None

        reason = loop.run(stop, lambda: observe(standing.progress()))
    return Outcome(reason, standing.progress())


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
