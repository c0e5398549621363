"""A search from Python, and what the command line shares with it. Imports torch where it trains."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from adamtune.api.study import Study, load
from adamtune.config import StudyConfig, load_study, override_search, parse_study
from adamtune.config.document import write_yaml
from adamtune.errors import UsageError
from adamtune.exports.live import exported
from adamtune.exports.registry import Place
from adamtune.function import Trainable
from adamtune.search.progress import Observer, Outcome
from adamtune.storage.local.lock import check_free
from adamtune.storage.studies import stored_config
from adamtune.tasks.base import Task
from adamtune.tasks.objects import GivenTask, given_task
from adamtune.tasks.source import ignored

RESUMED = ("trials", "timeout", "confirm")
"""The options that may change when a ``Study`` is continued."""


def search(
    study: str | os.PathLike[str] | Mapping[str, Any] | Study,
    *,
    task: type[Task] | Task | Trainable | None = None,
    trials: int | None = None,
    timeout: float | str | None = None,
    seed: int | None = None,
    storage: str | os.PathLike[str] | None = None,
    name: str | None = None,
    confirm: str | int | None = None,
    workers: int | str | None = None,
    log_to: str | Sequence[str] = (),
    progress: bool = True,
) -> Study:
    """Runs the search of a study, or continues it.

    The same call continues a search that was interrupted, and returns a complete one at once. With more
    ``trials`` it extends a complete one. Options that are None are as the study says.

    Ctrl-C, the interrupt button of a notebook and SIGTERM save the study between two optimizer steps; then
    KeyboardInterrupt is raised, so that later cells or lines do not run with half a study. A second one
    raises at once, and what was committed is kept: that is all but the last one or two seconds. In a thread
    other than the main one nothing interrupts, because Python gives signals to the main thread alone.

    Args:
        study: the path of a study file; a dict of the same form, in which files are relative to the current
            folder; or a ``Study``, which is continued with other ``trials``, ``timeout`` or ``confirm``.
        task: a class with the base class ``Task``, an object of one (whose settings are fixed), or a function
            with ``trainable``; it takes the place of the study's task. A dict may have it as its ``task``,
            too. The code of a class is compared with the code that the study began with, as that of a file
            is. A function must be in a file that can be imported.
        trials: the study's total, including earlier runs.
        timeout: seconds, or a text such as ``"30m"``, after which the search is saved and returned.
        seed: all randomness derives from it.
        storage: the database file or URL.
        name: the name of the study.
        confirm: how many trainings on fresh seeds compare the best trials with the baseline: ``"auto"``,
            ``"off"``, ``"small"``, ``"full"`` or a number.
        workers: how many functions or commands run at once.
        log_to: a tracker, or several, to which the trials are exported while the search runs, such as
            ``"tensorboard:runs"``; its package must be installed. A tracker that fails is a warning.
        progress: whether the progress is shown: on stderr, in a notebook below the cell.

    Returns:
        The study with the trials that it has now.

    Raises:
        adamtune.errors.StudyFileError: the study or an option is wrong; ``problems`` has all problems.
        adamtune.errors.UsageError: the task is wrong, or the device is not there.
        adamtune.errors.Refused: the study exists with other settings, data or code, or is in use.
        adamtune.errors.AdamtuneError: the search failed; what was committed is kept.
        KeyboardInterrupt: the search was interrupted; the study is kept.
    """
    options = {
        "search.trials": trials,
        "search.timeout": timeout,
        "search.seed": seed,
        "search.confirm": confirm,
        "storage": None if storage is None else os.fspath(storage),
        "name": name,
        "workers": workers,
    }
    config = _read(study, task, {key: each for key, each in options.items() if each is not None})
    check_free(config.storage, config.name)

    def start(observe: Observer) -> Outcome:
        # Optuna's progress bars, which are not used here, miss a package in a notebook without widgets.
        with ignored("IProgress not found"):
            from adamtune.search.run import run

        return run(config, observe)

    places = [log_to] if isinstance(log_to, str) else log_to
    say = partial(print, file=sys.stderr) if progress else _ignore
    with exported(places, "log_to", config.storage, config.name, say, _not_written) as with_exports:
        outcome, found = follow(with_exports(start), _view(progress), config.storage, config.name)
    if outcome.reason == "interrupted":
        done = f"{outcome.progress.done}/{outcome.progress.total} trials"
        raise KeyboardInterrupt(
            f"study {config.name} is saved with {done}: adamtune.load gives it, the same call continues it"
        )
    return found


def follow(
    start: Callable[[Observer], Outcome], view: AbstractContextManager[Observer], storage: str, name: str
) -> tuple[Outcome, Study]:
    """Runs a search within a view of its progress, then reads its study.

    Args:
        start: the search, which calls the observer that it gets after every round.
        view: gives the observer.
        storage: the storage.
        name: the study.
    """
    with view as observe:
        outcome = start(observe)
    # Read again from the storage: on a server, other processes have added trials.
    return outcome, load(name, storage)


def _read(
    study: str | os.PathLike[str] | Mapping[str, Any] | Study, task: object, options: Mapping[str, object]
) -> StudyConfig:
    """The study that a search was asked for."""
    if isinstance(study, Study):
        return _continued(study, task, options)
    if not isinstance(study, Mapping):
        if not isinstance(study, str | os.PathLike):
            raise UsageError(f"study is {study!r}: give the path of a study file, a dict, or a Study")
        return load_study(Path(study), options, "", None if task is None else given_task(task))
    data = dict(study)
    given = _taken(data, task)
    return parse_study(write_yaml(data, "study"), "study", options, Path(), "", given)


def _taken(data: dict[str, Any], task: object) -> GivenTask | None:
    """The task that was given as an object; the dict of the study gets its name and settings instead."""
    section = data.get("task")
    settings = dict(section) if isinstance(section, Mapping) else {"name": section}
    if task is None:
        task = settings.get("name")
        if not isinstance(task, type | Task | Trainable):
            return None
    given = given_task(task)
    data["task"] = {**settings, **given.settings, "name": given.entry.name}
    return given


def _continued(study: Study, task: object, options: Mapping[str, object]) -> StudyConfig:
    """The study of a storage with other options."""
    allowed = {key for key in options if key.rpartition(".")[2] in RESUMED}
    if others := [key.rpartition(".")[2] for key in options if key not in allowed]:
        raise UsageError(
            f"{', '.join(others)}: a study is continued with other {', '.join(RESUMED)} alone; give the study"
            " file or the dict for a new study"
        )
    config = stored_config(study.storage, study.name)
    if task is not None:
        given = given_task(task)
        choice = config.task.model_copy(update={"name": given.entry.name, "given": given.object})
        config = config.model_copy(update={"task": choice})
    return override_search(config, options, "")


def _view(progress: bool) -> AbstractContextManager[Observer]:
    if not progress:
        return nullcontext(_ignore)
    from adamtune.reports.console import console
    from adamtune.reports.live import progress_view
    from adamtune.reports.notebook import notebook_view

    out = console(stderr=True)
    return notebook_view() if out.is_jupyter else progress_view(out)


def _not_written(place: Place) -> None:
    warnings.warn(f"{place}: not everything was written. The same call writes it.", stacklevel=6)


def _ignore(_: object) -> None:
    """What a search says whose progress is not shown."""
