"""A study in its storage: created, or found and checked to be the same."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState

import adamtune
from adamtune.config import Study as StudyFile
from adamtune.config import differences
from adamtune.engines.choose import Plan, is_available, plan
from adamtune.errors import Refused, UsageError
from adamtune.storage import opening
from adamtune.storage.checkpoints import Checkpoints
from adamtune.storage.local import LocalStorage
from adamtune.storage.location import without_password
from adamtune.storage.records import StudyAttrs, write_study
from adamtune.tasks.catalog import TASKS
from adamtune.tasks.protocol import Task

if TYPE_CHECKING:
    from adamtune.storage.shared import SharedStorage


class Opened:
    """A study that this process may train; close it when done.

    Args:
        file: the study file; its storage has a study of its name that means the same.
        storage: the storage.
    """

    def __init__(self, file: StudyFile, storage: LocalStorage | SharedStorage) -> None:
        self.file, self.storage = file, storage
        self.study = Study(file.name, storage)
        self._id = self.study._study_id
        self._server: SharedStorage | None = None
        self._checkpoints: Checkpoints | None = None
        if isinstance(storage, LocalStorage):
            self._checkpoints = Checkpoints(storage.path, file.name)
        else:
            self._server = storage
            storage.limit(self._id, file.trials)

    @property
    def shared(self) -> bool:
        """Whether other processes may train trials of the study too (on a database server)."""
        return self._server is not None

    def check_data(self, task: Task) -> None:
        """Keeps the data's hash with a new study. Raises Refused if an old one was trained on other data."""
        kept = self.study.user_attrs.get("data_hash")
        if kept is None:
            self.storage.set_study_user_attr(self._id, "data_hash", task.data_hash)
        elif kept != task.data_hash:
            raise Refused(
                f"study {self.file.name} was trained on other data: its hash is {kept[:12]}, now it is"
                f" {task.data_hash[:12]}. Put the old data back (the same Python and scikit-learn"
                " versions, too), or start a new study with --name."
            )

    def plan(self, task: Task) -> Plan:
        """How the study is trained: decided once, so that a resumed study goes on as it began."""
        kept = self.study.user_attrs.get("plan")
        file = self.file
        if kept is not None:
            made = Plan(**kept)
            if not is_available(made.device):
                raise UsageError(
                    f"study {file.name} was begun on {made.device}, which is not available here."
                    " Go on with it where it is, or start a new study with --name."
                )
            return made
        made = plan(
            task,
            file.engine,
            file.population,
            file.device,
            file.trials,
            file.search.seeds,
            TASKS[file.task.name].settings.model_validate(file.task.settings).step_bytes(),
        )
        self.storage.set_study_user_attr(self._id, "plan", asdict(made))
        return made

    def checkpoint(self) -> dict[str, Any] | None:
        """What the last commit left in training."""
        if self._checkpoints is None:
            return None
        return self._checkpoints.restore(self.storage, self._id)  # type: ignore[arg-type]

    def abandon(self) -> None:
        """Gives up the trials that were in training in a local file, where their checkpoint is lost.

        They have failed, and others are owed in their place.
        """
        if self._checkpoints is None:
            return
        for trial in self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.RUNNING,)):
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        self._checkpoints.commit(self.storage, self._id, None)  # type: ignore[arg-type]

    def discard(self) -> None:
        """Deletes a study in a local file in which no trial was begun."""
        if not self.shared and not self.storage.get_n_trials(self._id):
            self.storage.delete_study(self._id)

    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        """Begins to make every change durable, with ``state`` to go on from.

        Until ``finish_commit``, training may go on, and nothing of the study may change.
        """
        if self._checkpoints is not None:
            self._checkpoints.begin(self.storage, self._id, state)  # type: ignore[arg-type]
        elif state is not None:
            self.lost(each["number"] for each in state["running"])

    def finish_commit(self) -> None:
        """Waits for the commit that was begun, if one was."""
        if self._checkpoints is not None:
            self._checkpoints.finish()

    def ask(self, study: Study) -> Trial | None:
        """Begins a trial of ``study``, which is this one or a view of it; None if others began the last."""
        if not self.shared:
            return study.ask()
        from adamtune.storage.shared import NoneLeft

        try:
            return study.ask()
        except NoneLeft:
            return None

    def lost(self, own: Iterable[int]) -> set[int]:
        """Numbers of the trials in training here that other processes have taken over; none in a local file.

        It tells the others of the rest. ``own`` are the numbers of all.
        """
        if self._server is None:
            return set()
        ids = self._ids(own)
        return {ids[each] for each in self._server.beat(list(ids))}

    def orphans(self, own: Iterable[int], most: int) -> list[int]:
        """Ids of trials that this process is to train because theirs died; none in a local file.

        Args:
            own: the numbers of the trials that are in training here.
            most: how many more there is room for.
        """
        return [] if self._server is None else self._server.take_over(self._id, self._ids(own), most)

    def leave(self, own: Iterable[int]) -> None:
        """Lets other processes train the trials that were in training here, at once."""
        if self._server is not None:
            self._server.leave(list(self._ids(own)))

    def _ids(self, numbers: Iterable[int]) -> dict[int, int]:
        """Trial numbers by id."""
        storage = self.study._storage
        return {storage.get_trial_id_from_study_id_trial_number(self._id, each): each for each in numbers}

    def close(self) -> None:
        """Lets the storage go, after a commit that was begun; what no commit holds is dropped."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self.storage.close()


def open_study(file: StudyFile) -> Opened:
    """The study of a file, created if its storage has none of that name.

    Raises:
        Refused: there is one of that name with other settings.
        AdamtuneError: the storage fails.
    """
    storage = opening.open_storage(file.storage)
    try:
        names = {each.study_name: each._study_id for each in storage.get_all_studies()}
        study_id = names.get(file.name)
        if study_id is not None and isinstance(storage, LocalStorage) and _is_blank(storage, study_id):
            # A process that was killed at once left it; perhaps it is of another direction.
            storage.delete_study(study_id)
            study_id = None
        if study_id is None:
            study_id = _created(file, storage)
        _check_same(file, storage, study_id)
        write_study(storage, study_id, _attrs(file, storage.get_study_user_attrs(study_id)))
        return Opened(file, storage)
    except BaseException:
        storage.close()
        raise


def _created(file: StudyFile, storage: LocalStorage | SharedStorage) -> int:
    try:
        return storage.create_new_study([_direction(file)], file.name)
    except DuplicatedStudyError:  # another process of a server was a moment faster
        return storage.get_study_id_from_name(file.name)


def _is_blank(storage: LocalStorage, study_id: int) -> bool:
    attrs = storage.get_study_user_attrs(study_id)
    return not storage.get_n_trials(study_id) and (not attrs or "study" in attrs)


def _direction(file: StudyFile) -> StudyDirection:
    return StudyDirection[file.objective.direction.upper()]


def _check_same(file: StudyFile, storage: LocalStorage | SharedStorage, study_id: int) -> None:
    attrs, shown = storage.get_study_user_attrs(study_id), without_password(file.storage)
    if "study" not in attrs:
        if storage.get_n_trials(study_id) or storage.get_study_directions(study_id) != [_direction(file)]:
            raise Refused(f"{shown} has a study {file.name} that adamtune did not make. Use another --name.")
        return
    old = StudyFile.from_canonical(attrs["study"])
    changes = differences(old, file)
    if changes:
        raise Refused(
            f"study {file.name} exists in {shown} with other settings:\n"
            + "\n".join(f"  {change}" for change in changes)
            + "\nIts trials would not be comparable. Start a new study with --name, or undo the change"
            " (only trials and timeout may be raised)."
        )


def _attrs(file: StudyFile, kept: Mapping[str, Any]) -> StudyAttrs:
    import torch

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "optuna": optuna.__version__,
        "adamtune": adamtune.__version__,
    }
    return {
        "study_file": file.text,
        "study": file.canonical(),
        "study_hash": file.hash,
        "metric": file.objective.metric,
        "versions": kept.get("versions", versions),  # those that it was begun with
    }
