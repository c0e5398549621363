"""Trains a candidate and a baseline in pairs, to see whether the candidate is no worse; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from adamtune.analysis.confirmation import Training
from adamtune.analysis.gate import ROLES, Gate, Tolerance
from adamtune.analysis.looks import GATE
from adamtune.config import StudyConfig
from adamtune.config.settings_file import Trained
from adamtune.engines.base import Member
from adamtune.engines.plan import Plan, make_plan, workers_plan
from adamtune.errors import AdamtuneError, UsageError
from adamtune.search.faults import training_faults
from adamtune.search.fleets import training_device
from adamtune.search.preparation import ENGINES
from adamtune.search.progress import Observer, Progress, Stage
from adamtune.search.run import interruptions
from adamtune.search.task_check import check_objective, check_task
from adamtune.search.trainings import Trainings
from adamtune.search.trial import Tasks, member
from adamtune.search.workers import Staff
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.program import ProgramEntry

SEED = 2**33
"""The least seed of a gate: those of searches and of their confirmations are less, so seeds are fresh."""
MOST = len(ROLES) * GATE.looks[0]
"""Trainings at once, at most: those of the first look."""


def run_gate(
    config: StudyConfig, candidate: Trained, baseline: Trained, tolerance: Tolerance, observe: Observer
) -> Gate:
    """Trains both on common seeds, which follow from the candidate's file, until it is decided.

    Args:
        config: the study, which says how everything is trained.
        candidate, baseline: what is compared.
        tolerance: how much worse the candidate may be.
        observe: called after every round.

    Raises:
        UsageError: the task has a mistake, or the data of the two differ.
        AdamtuneError: a training failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM came.
    """
    sides = dict(zip(ROLES, (candidate, baseline), strict=True))
    with Staff(config, None).gather() as staff:
        return _compare(config, sides, tolerance, observe, staff)


def _compare(
    config: StudyConfig,
    sides: Mapping[str, Trained],
    tolerance: Tolerance,
    observe: Observer,
    staff: Staff,
) -> Gate:
    with training_faults(config.name):
        tasks = _tasks(config, sides)
        kept = _plan(config, sides, tasks)
    plan = staff.confirmation_plan(kept, MOST)
    seed = SEED + int.from_bytes(sha256(sides["candidate"].text.encode()).digest()[:4])

    def make(training: Training) -> Member:
        role, replicate = training
        number = len(ROLES) * replicate + ROLES.index(role)
        return member(number, sides[role].settings, tasks[role], seed, replicate)

    gate = Gate(config.objective.metric, config.objective.direction, tolerance)
    notes = [plan.why, *_changes(config, sides, tasks)]
    report = _reporter(config, gate, notes, staff, observe)
    with (
        interruptions(lambda: None) as interrupted,
        TemporaryDirectory() as folder,
        staff.start(plan, kept, Path(folder)) as engine,
    ):
        trainings = Trainings(engine, config.name, make)
        report()
        while trainings.begin(gate.missing) or trainings:
            for training, result in trainings.advance(interrupted):
                if failure := result.get("failure"):
                    raise AdamtuneError(f"a training of {sides[training.role].name} failed: {failure}")
                gate.results[training.role][training.number] = result
            if interrupted():
                raise KeyboardInterrupt
            report()
    return gate


def _reporter(
    config: StudyConfig, gate: Gate, notes: list[str], staff: Staff, observe: Observer
) -> Callable[[], None]:
    """The function that tells an observer how many trainings are done."""
    began = perf_counter()

    def report() -> None:
        workers = staff.statuses()
        notes.extend(staff.events(workers))
        observe(
            Progress(
                study=config.name,
                metric=gate.metric,
                direction=gate.direction,
                total=gate.most,
                counts={"complete": gate.done},
                elapsed=perf_counter() - began,
                ended=0,
                notes=tuple(notes),
                workers=workers,
                stage=Stage("checking", gate.done, gate.most),
            )
        )

    return report


def _tasks(config: StudyConfig, sides: Mapping[str, Trained]) -> dict[str, Any]:
    """The task of each side; one object where their settings are equal.

    Raises:
        UsageError: the task has a mistake, or the data differ.
    """
    entry = config.task.entry
    if isinstance(entry, ProgramEntry):
        return {role: entry.program(each.task) for role, each in sides.items()}
    own = Tasks(config)
    found = {role: own.load(entry.settings.model_validate(each.task)) for role, each in sides.items()}
    if len({each.data_hash for each in found.values()}) > 1:
        one, other = (each.task for each in found.values())
        changed = [name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)]
        raise UsageError(
            f"the candidate and the baseline have different data, so they cannot be compared: give"
            f" {' or '.join(changed)} one value in both files"
        )
    # One evaluation, at the last step: a gate needs no curves.
    scored = {each: each.with_holdouts({}) for each in found.values()}
    return {role: scored[each] for role, each in found.items()}


def _plan(config: StudyConfig, sides: Mapping[str, Trained], tasks: Mapping[str, Any]) -> Plan:
    """The plan that a search of both would have: the smaller, unless one cannot be trained in lockstep."""
    if isinstance(config.task.entry, ProgramEntry):
        return workers_plan(config.workers, 1)
    optimizers = [str(each.settings["optimizer"]) for each in sides.values()]
    plans, (device, is_here) = [], training_device(config)
    for task in dict.fromkeys(tasks.values()):
        step_bytes = task.task.step_bytes()
        if step_bytes is None:
            check_objective(config, check_task(task))
        options = config.engine, config.population, device, 1, optimizers
        plans.append(make_plan(task, *options, step_bytes, is_here))
    plan = max(plans, key=lambda each: (ENGINES.index(each.engine), -each.slots))
    return plan.for_trials(MOST, 1, plan.slots)


def _changes(config: StudyConfig, sides: Mapping[str, Trained], tasks: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each thing that has changed since the settings were exported."""
    data = {each.data_hash for each in tasks.values() if isinstance(each, LoadedTask)}
    metric = config.objective.metric
    for each in sides.values():
        if each.file is None:
            continue
        if each.file.metric not in ("", metric):
            yield f"{each.name} was chosen by {each.file.metric}; this check compares {metric}."
        recipe = each.file.recipe if isinstance(each.file.recipe, dict) else {}
        for key, now in config.recipe._asdict().items():
            if recipe.get(key, now) != now:
                yield f"{each.name} was trained with {key} {recipe[key]}; this check trains with {now}."
        if data and each.file.data_hash not in (None, *data):
            yield f"The data is not that of {each.name}: both are trained on the data of now."
