"""The second stage of a study: the best trials and the baseline are trained on fresh seeds for a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from time import perf_counter
from typing import Any

import torch
from optuna.trial import TrialState

from adamtune.analysis.confirmation import LR, PAIR, Confirmation, Training, of_lr, without
from adamtune.analysis.finalists import finalists
from adamtune.analysis.looks import FULL, Plan
from adamtune.catalog import ONE_MINUS
from adamtune.config import Choice, Range, StudyConfig
from adamtune.config.baseline import baseline_settings, put_back
from adamtune.engines.base import Engine, Member, Source
from adamtune.engines.metrics import plain_metrics
from adamtune.search.faults import training_faults
from adamtune.search.loop import COMMIT_SECONDS
from adamtune.search.programs import Programs
from adamtune.search.progress import Reason, Stage
from adamtune.search.tracker import Tracker
from adamtune.search.trainings import Trainings
from adamtune.search.trial import Tasks, member
from adamtune.storage.session import Session
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import count_rows

SEED = 2**32
"""The seed of the first confirmation of any study: a search's own seed is always less, so seeds are fresh."""
PAIR_SEEDS = 1000
"""The replicate of the first pair; those below are of the comparison of the finalists."""
LR_SEED = 10**6
"""The replicate of the trainings that tune the lr of the baseline."""
PARTS = 25
"""Parts of the test rows that are scored each, for the part of the uncertainty that comes from the rows."""

DEFAULT_LRS = 1e-5, 1e-1
"""The learning rates of a baseline with a tuned lr, where the study searches no range of them."""

ATTRIBUTE = "confirmation"
"""The study's attribute that has the trainings so far."""


class ConfirmationLoop:
    """Trains what a confirmation lacks.

    Args:
        session: the study, whose search is complete.
        engine: trains the members; it has none at first.
        tasks: the study's tasks.
        tracker: tells people of the progress.
        confirmation: the trainings so far.
    """

    def __init__(
        self,
        session: Session,
        engine: Engine,
        tasks: Tasks | Programs,
        tracker: Tracker,
        confirmation: Confirmation,
    ) -> None:
        self._session, self._tasks, self._tracker = session, tasks, tracker
        self._confirmation, self._config = confirmation, session.config
        self._settings = {
            each.number: each.user_attrs["settings"] for each in _finalists(session, confirmation)
        }
        self._put_back: dict[str, dict[str, Any]] = {}
        self._searched = {name.removeprefix(ONE_MINUS) for name in self._config.space.searched}
        self._with_holdouts: dict[LoadedTask, LoadedTask] = {}
        self._trainings = Trainings(engine, self._config.name, self._member)
        self._committed = perf_counter()

    def run(self, stop: Callable[[], Reason | None], observe: Callable[[], None]) -> Reason:
        """Trains until there is a verdict or ``stop`` gives a reason; then everything is committed.

        Raises:
            AdamtuneError: the task failed, or the storage did; the last commit stands.
        """

        def pause() -> bool:
            return stop() is not None or perf_counter() - self._committed > COMMIT_SECONDS

        self._tracker.end([])
        self._report()
        observe()
        while (reason := stop()) is None and (self._trainings.begin(self._missing) or self._trainings):
            for training, result in self._trainings.advance(pause):
                self._confirmation.keep(training, result)
            self._report()
            if perf_counter() - self._committed > COMMIT_SECONDS:
                self._commit()
            observe()
        self._commit()
        self._session.finish_commit()
        return reason or "complete"

    def _missing(self) -> list[Training]:
        confirmation, winner = self._confirmation, self._confirmation.winner
        if winner is not None:
            self._settle(self._settings[winner])
        return confirmation.missing()

    def _settle(self, winner: Mapping[str, Any]) -> None:
        """Derives from the winner's settings those of the baseline, and which are put back."""
        confirmation = self._confirmation
        tuned = {} if confirmation.best_lr is None else {"lr": confirmation.best_lr}
        confirmation.baseline = baseline_settings(self._config, winner) | tuned
        confirmation.identical = confirmation.is_tuned and winner == confirmation.baseline
        self._put_back = put_back(winner, confirmation.baseline)
        if confirmation.is_tuned and is_ablated(self._config, confirmation.plan):
            confirmation.ablated = tuple(name for name in self._put_back if name in self._searched)

    def _member(self, training: Training) -> Member:
        confirmation, winner = self._confirmation, self._confirmation.winner
        tuned = {of_lr(place): lr for place, lr in enumerate(confirmation.lrs)}
        if training.role == "baseline":
            settings = confirmation.baseline
        elif training.role == LR:
            settings = confirmation.baseline | {"lr": confirmation.lrs[training.number]}
        elif training.role in tuned:
            settings = confirmation.baseline | {"lr": tuned[training.role]}
        else:
            number = winner if training.is_pair else int(training.role)
            assert number is not None
            settings = self._put_back.get(training.role.removeprefix(without("")), self._settings[number])
        with training_faults(self._config.name):
            task = self._task(settings)
        if training.role == LR:  # all with one seed, as the trials of a search
            return member(LR_SEED + training.number, settings, task, SEED + confirmation.generation, LR_SEED)
        replicate = PAIR_SEEDS * training.is_pair + training.number
        # Functions and commands have a folder for each trial, so that each training is a trial of its own.
        roles = [*PAIR, *map(without, confirmation.ablated), *map(str, confirmation.finalists), *tuned]
        number = replicate * len(roles) + roles.index(training.role)
        return member(number, settings, task, SEED + confirmation.generation, replicate)

    def _task(self, settings: Mapping[str, Any]) -> Any:
        tasks: Any = self._tasks
        task = tasks.of(settings)
        if not isinstance(task, LoadedTask):
            return task
        if task not in self._with_holdouts:
            self._with_holdouts[task] = task.with_holdouts(_test_rows(task, self._config.objective.metric))
        self._confirmation.test = 0 if task.test is None else count_rows(task.test)
        return self._with_holdouts[task]

    def _report(self) -> None:
        confirmation = self._confirmation
        self._tracker.stage = Stage(
            f"confirmation, {confirmation.stage}", confirmation.done, confirmation.most
        )

    def _commit(self) -> None:
        """Begins a commit of the results, with the state of the trainings that have not ended."""
        state = self._trainings.state()
        if state is not None:  # no trial is in training
            state |= {"confirmation": self._confirmation.generation, "running": []}
        self._session.finish_commit()
        self._session.set_attribute(ATTRIBUTE, self._confirmation.to_json())
        self._session.begin_commit(state)
        self._committed = perf_counter()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues the trainings of a committed ``state``, unless it is of an earlier confirmation."""
        if state["confirmation"] == self._confirmation.generation:
            self._missing()  # makes the settings of the baseline
            self._trainings.restore(state)


def begin_confirmation(session: Session, plan: Plan) -> Confirmation:
    """The confirmation of a study whose search is complete: the one that was begun, or a new one.

    A new one is begun where trials have ended since, or the study asks for another plan or baseline.
    """
    config, stored = session.config, session.attribute(ATTRIBUTE)
    complete = _complete(session)
    new = Confirmation(
        plan=plan,
        metric=config.objective.metric,
        direction=config.objective.direction,
        trials=len(complete),
        asked=config.baseline if isinstance(config.baseline, str) else dict(config.baseline),
        lrs=_lrs(config) if config.baseline == "lr_only" else (),
        finalists=finalists(
            [(each.number, each.value) for each in complete], config.objective.direction, plan
        ),
    )
    if stored is None:
        return new
    old = Confirmation.from_json(stored)
    same = (old.plan, old.trials, old.asked, old.finalists) == (
        new.plan,
        new.trials,
        new.asked,
        new.finalists,
    )
    return old if same else replace(new, generation=old.generation + 1)


def _lrs(config: StudyConfig) -> tuple[float, ...]:
    """As many learning rates as the study has trials, evenly over the logarithms of its range."""
    lr = config.space.optimizers[config.optimizers[0]].get("lr")
    low, high = DEFAULT_LRS
    if isinstance(lr, Range) and lr.low > 0:
        low, high = lr.low, lr.high
    elif isinstance(lr, Choice):
        return tuple(float(each) for each in lr.values if isinstance(each, int | float))
    steps = max(config.trials - 1, 1)
    return tuple(low * (high / low) ** (place / steps) for place in range(config.trials))


def is_ablated(config: StudyConfig, plan: Plan) -> bool:
    """Whether each setting of a better winner is put back."""
    asked = config.search.ablate
    return asked == "on" or (asked == "auto" and plan == FULL)


def most_at_once(plan: Plan) -> int:
    """The most trainings of a plan that can be done at the same time."""
    return max(plan.finalists * plan.seeds, len(PAIR) * plan.looks[0])


def _complete(session: Session) -> list[Any]:
    trials = session.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # A trial of another program has no settings to train again.
    return [each for each in trials if "settings" in each.user_attrs]


def _finalists(session: Session, confirmation: Confirmation) -> Sequence[Any]:
    return [each for each in _complete(session) if each.number in confirmation.finalists]


def _test_rows(task: LoadedTask, metric: str) -> dict[str, slice]:
    """All test rows, and parts of them where the metric can be computed of a part."""
    if task.test is None:
        return {}
    rows = count_rows(task.test)
    parts = min(rows, PARTS)
    bounds = [rows * place // parts for place in range(parts + 1)]
    slices = {f"test.{part}": slice(*bounds[part : part + 2]) for part in range(parts)}
    return {"test": slice(rows), **(slices if _are_scored(task, metric, slices) else {})}


def _are_scored(task: LoadedTask, metric: str, parts: Mapping[str, slice]) -> bool:
    """Whether a model that is not trained has the metric on every part: some need rows of every class."""
    source = Source(task.with_holdouts(parts), torch.device("cpu"))
    module = source.module(0, 0)
    try:
        scores = [plain_metrics(task, module, rows, 0) for rows in source.holdouts.values()]
    except Exception:  # whatever a user's metric raises for too few rows
        return False
    return all(isfinite(each.get(metric, nan)) for each in scores)
