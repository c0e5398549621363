"""A study in Python: its numbers, charts and settings. Imports torch and Optuna only where they are used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adamtune.analysis.ranking import BASELINE, Ranking, rank
from adamtune.api.plots import Plots
from adamtune.storage.location import STORAGE, without_password
from adamtune.storage.studies import latest_study, list_studies, read_study

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from adamtune.analysis.verdict import Verdict
    from adamtune.storage.records import State


@dataclass(frozen=True)
class Best:
    """The settings that a study recommends.

    Attributes:
        trial: the number of the trial that was trained with them; None where no trial of the search was.
        is_baseline: whether they are the baseline, which asks for no change.
        value: the objective in the search; of a baseline that is no trial, its mean on fresh seeds.
        settings: everything that the trial was trained with, by name: ``optimizer``, its hyperparameters,
            ``schedule``, its hyperparameters, and the searched settings of the task.
        metrics: every metric at the last evaluation.
    """

    trial: int | None
    is_baseline: bool
    value: float | None
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]


class Study:
    """A study as it was when it was read: its trials, their verdict, charts, and the recommended settings.

    It is read at its first use, and not again: ``load`` gives the study as it is now. A notebook shows its
    verdict, its best trials and the recommended settings as code.

    Args:
        name: the name of the study.
        storage: the database file or URL that has it.
    """

    def __init__(self, name: str, storage: str) -> None:
        self.name, self.storage = name, storage

    @cached_property
    def ranking(self) -> Ranking:
        """The ranked trials, from which everything else is made."""
        return rank(read_study(self.storage, self.name))

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial, the best first: rank, number, state, value, every setting and every metric."""
        from adamtune.analysis.frames import trial_frame

        return trial_frame(self.ranking)

    @property
    def curves(self) -> pd.DataFrame:
        """One row an evaluation: the number of the trial, the optimizer step, the value of the objective."""
        from adamtune.analysis.frames import curve_frame

        return curve_frame(self.ranking)

    @property
    def confirmation(self) -> pd.DataFrame:
        """One row a training on a fresh seed: its side, trial, seed and metrics; none without a verdict."""
        from adamtune.analysis.frames import confirmation_frame

        return confirmation_frame(self.ranking)

    @property
    def importance(self) -> pd.DataFrame:
        """One row a searched setting: the part of the order of the trials that it explains, and noise's."""
        from adamtune.analysis.frames import importance_frame

        return importance_frame(self.ranking)

    @property
    def plot(self) -> Plots:
        """The charts, such as ``study.plot.slices()``."""
        return Plots(self.ranking)

    @property
    def counts(self) -> Mapping[State, int]:
        """The number of trials that are complete, pruned, diverged, failed and running, by those names."""
        return self.ranking.counts

    @property
    def best(self) -> Best | None:
        """The recommended settings; None if no trial is complete.

        They are those of the best trial, unless the verdict says that the baseline is as good or better.
        """
        trial, verdict = self.ranking.recommended, self.verdict
        if trial is None:
            return None
        side = verdict.recommended if verdict else None
        return Best(
            None if trial.number == BASELINE else trial.number,
            side is not None and verdict is not None and side is verdict.baseline,
            trial.value,
            dict(trial.settings),
            dict(trial.metrics),
        )

    @property
    def verdict(self) -> Verdict | None:
        """Whether the best trial is better than the baseline: ``outcome``, ``sentence`` and the numbers.

        None if no trial is complete, or another program made the study.
        """
        return self.ranking.verdict

    def settings_code(self) -> str:
        """Python code of the recommended settings, as a command with them for a task that is a command.

        Empty if no trial is complete.
        """
        from adamtune.reports.as_code import recommended_code

        return recommended_code(self.ranking)

    def to_optuna(self) -> optuna.Study:
        """The study as Optuna's own object, on the same storage."""
        from adamtune.storage.studies import optuna_study

        return optuna_study(self.storage, self.name)

    def __repr__(self) -> str:
        found = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        best = self.best
        metric = self.ranking.study.metric
        said = "" if best is None or best.value is None else f"; best {metric} {best.value:.4g}"
        return f"<Study {self.name} in {without_password(self.storage)}: {found or 'no trials'}{said}>"

    def _repr_html_(self) -> str:
        from adamtune.reports.summary import summary

        return summary(self.ranking)


def load(name: str | None = None, storage: str | os.PathLike[str] = STORAGE) -> Study:
    """Reads a study.

    Args:
        name: the name of the study; by default the one in which a trial last began or ended.
        storage: the database file or URL.

    Raises:
        adamtune.errors.UsageError: there is no such file or study; the message has the names that there are.
        adamtune.errors.AdamtuneError: the storage cannot be read.
    """
    location = os.fspath(storage)
    study = Study(latest_study(location) if name is None else name, location)
    _ = study.ranking  # so that what is wrong is said here
    return study


def studies(storage: str | os.PathLike[str] = STORAGE) -> list[Study]:
    """Every study of a storage, oldest first. The trials of each are read when it is used.

    Args:
        storage: the database file or URL.

    Raises:
        adamtune.errors.UsageError: there is no such file.
        adamtune.errors.AdamtuneError: the storage cannot be read.
    """
    location = os.fspath(storage)
    return [Study(each.name, location) for each in list_studies(location)]
