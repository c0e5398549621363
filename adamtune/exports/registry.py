"""The trackers that studies are exported to, and how a user names a place in one of them."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.exports.runs import Target
from adamtune.storage.location import belongs, local_path, without_password


class Tracker(NamedTuple):
    """A kind of places for runs, which has a file of its own in this folder.

    Attributes:
        target: the name of the class.
        place: how a user names one.
        view: the command that shows what was written; ``{}`` stands for the place.
    """

    target: str
    place: str
    view: str


TRACKERS = {
    "mlflow": Tracker("MlflowTarget", "mlflow:sqlite:///mlflow.db", "mlflow ui --backend-store-uri {}"),
    "tensorboard": Tracker("TensorboardTarget", "tensorboard:FOLDER", "tensorboard --logdir {}"),
    "wandb": Tracker("WandbTarget", "wandb:FOLDER", "wandb sync {}/wandb/offline-run-*"),
}
FORMS = ", ".join(each.place for each in TRACKERS.values())
"""Examples for people."""


class Place(NamedTuple):
    """A place for runs, as a user names it: ``KIND:WHERE``."""

    kind: str
    where: str

    def __str__(self) -> str:
        return without_password(f"{self.kind}:{self.where}")

    @property
    def view(self) -> str:
        """The command that shows what was written."""
        return TRACKERS[self.kind].view.format(shlex.quote(without_password(self.where)))

    def open(self, study: str) -> Target:
        """The target for the runs of a study. Whatever the tracker's library raises is raised."""
        module = import_module(f"adamtune.exports.{self.kind}")
        target: Callable[[str, str], Target] = getattr(module, TRACKERS[self.kind].target)
        return target(self.where, study)


def find_place(text: str, option: str, storage: str) -> Place:
    """The place that a user names; nothing is written yet.

    Args:
        text: ``KIND:WHERE``.
        option: the option that names it, for messages.
        storage: the storage of the study.

    Raises:
        UsageError: there is no such kind, no place is named, or the package is not installed.
        Refused: MLflow would write its tables into a database of studies.
    """
    kind, _, where = text.partition(":")
    if kind not in TRACKERS or not where.strip():
        raise UsageError(f"{option} {text}: write a tracker and a place in it, such as {FORMS}")
    place = Place(kind, where)
    if not is_installed(kind):
        raise UsageError(
            f"{option} {place}: the package {kind} is not installed."
            f" Install it: pip install 'adamtune[{kind}]'"
        )
    if kind == "mlflow" and where.startswith("sqlite"):
        _check_database(place, option, storage)
    return place


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    spec = find_spec(package)
    # A folder of that name in the working directory, which wandb makes, is found too, but has no origin.
    return spec is not None and spec.origin is not None


def _check_database(place: Place, option: str, storage: str) -> None:
    file = local_path(place.where)
    if file is not None and (belongs(file, storage) or _has_studies(file)):
        raise Refused(f"{option} {place}: this database holds studies. Name another file for MLflow.")


def _has_studies(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM sqlite_master WHERE name = 'studies'"
            return bool(connection.execute(query).fetchone()[0])
    except sqlite3.Error:  # MLflow has a message for it
        return False


def tracker_error(place: Place, error: Exception) -> AdamtuneError:
    """The failure of a tracker's library as a message for people."""
    said = str(error).strip().splitlines()
    name = "" if isinstance(error, AdamtuneError) else f"{type(error).__name__}: "
    return AdamtuneError(f"cannot write to {place}: {name}{said[0] if said else ''}")
