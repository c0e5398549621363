"""A study that this process may train, wherever it is kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import Trial

from adamtune.config import Study as StudyFile
from adamtune.engines.choose import Plan, is_available, plan
from adamtune.errors import Refused, UsageError
from adamtune.tasks.catalog import TASKS
from adamtune.tasks.protocol import Task


class Opened:
    """What is common to studies in a local file and on a server; close it when done.

    Trials are told by their numbers, and ``own`` are the trials in training here.

    Args:
        file: the study file; its storage has a study of its name that means the same.
        storage: the storage.
    """

    shared = False
    """Whether other processes may train trials of the study, too."""

    def __init__(self, file: StudyFile, storage: BaseStorage) -> None:
        self.file = file
        self.study = Study(file.name, storage)
        self.storage, self._id = self.study._storage, self.study._study_id

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
        """What the last commit left in training for this process."""
        return None

    def begin_commit(self, state: Mapping[str, Any] | None) -> None:
        """Begins to make every change durable, with ``state`` to go on from.

        Until ``finish_commit``, training may go on, and nothing of the study may change.
        """

    def finish_commit(self) -> None:
        """Waits for the commit that was begun, if one was."""

    def ask(self, study: Study) -> Trial | None:
        """Begins a trial of ``study``, which is this one or a view of it; None if others began the last."""
        return study.ask()

    def beat(self, own: Collection[int]) -> set[int]:
        """Tells other processes that these are in training here; those that they have taken over."""
        return set()

    def orphans(self, own: Collection[int], most: int) -> list[int]:
        """The ids of up to ``most`` trials that this process is to train because theirs died."""
        return []

    def leave(self, own: Collection[int]) -> None:
        """Lets other processes train them, at once."""

    def abandon(self) -> None:
        """Gives up the trials that were in training for this process: they have failed."""

    def discard(self) -> None:
        """Deletes the study if no trial was begun, and nobody else may have begun one."""

    def close(self) -> None:
        """Lets the storage go, after a commit that was begun; what no commit holds is dropped."""
