"""``adamtune validate``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adamtune.recipe import USUAL

if TYPE_CHECKING:
    from adamtune.config.space import Choice, Distribution
    from adamtune.config.study import StudyConfig
    from adamtune.engines.plan import Plan
    from adamtune.search.task_check import Measurement
    from adamtune.tasks.loaded import LoadedTask

LESS = {"population": "; less in lockstep", "side_by_side": "; less in several processes"}
"""What an engine changes in the time of trainings that follow each other."""
STATE_BYTES = 12
"""Bytes that Adam keeps for each parameter beside it: the gradient and two moments."""


def validate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Study file (YAML)")],
) -> None:
    """Check a study file and show what is searched and what is fixed."""
    from adamtune.config import load_study
    from adamtune.storage.location import local_path

    study = load_study(config)
    local_path(study.storage)  # or the search would refuse it later
    typer.echo("\n".join(summary(study)))


def _two_value_notes(study: StudyConfig) -> list[str]:
    """Values that are legal, but likely to be meant otherwise: two ends of a range written as a list."""
    from adamtune.config import Choice

    if study.search.sampler == "grid":  # which takes no ranges
        return []
    found = [
        _two_values(name, each) for name, each in study.space.searched.items() if isinstance(each, Choice)
    ]
    return [each for each in found if each]


def _two_values(name: str, choice: Choice) -> str:
    """The note on a choice of two real numbers that differ by a factor of ten or more; else empty."""
    from adamtune.reports.text import setting

    values = [each for each in choice.values if isinstance(each, float)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if not len(values) == len(choice.values) == 2 or high < 10 * low:
        return ""
    write, log = setting("", digits=12), ", log: true" if low else ""
    return f"{name}: two values; for a range write {{low: {write(low)}, high: {write(high)}{log}}}"


def summary(study: StudyConfig) -> list[str]:
    """A study in lines for people: its task and search, and what is searched and fixed."""
    from adamtune.analysis.advice import few_trials
    from adamtune.config import Fixed
    from adamtune.reports.text import aligned
    from adamtune.search.fleets import fleet_of
    from adamtune.search.notes import notes

    rows, (plan, model) = list(_rows(study)), _plan(study)
    advice = [each.text for each in few_trials(study.trials, list(study.space.searched))]
    workers = getattr(fleet_of(study), "workers", None) or 1
    remarks = [*_two_value_notes(study), *notes(study, workers * plan.slots), *advice]
    searched = [(name, text) for name, text, each in rows if not isinstance(each, Fixed)]
    fixed = [(name, text) for name, text, each in rows if isinstance(each, Fixed)]
    return [
        *aligned([*_settled(study, plan), *model]),
        f"searched ({len(searched)}):",
        *aligned(searched or [("nothing", "")], "  "),
        "fixed:",
        *aligned(fixed or [("nothing", "")], "  "),
        *(["notes:", *(f"  {each}" for each in remarks)] if remarks else []),
    ]


def _settled(study: StudyConfig, plan: Plan) -> list[tuple[str, str]]:
    from adamtune.reports.text import clock
    from adamtune.storage.location import without_password

    search = study.search
    timeout = "" if search.timeout is None else f", at most {clock(search.timeout)}"
    return [
        ("study", f"{study.name}, kept in {without_password(study.storage)}"),
        ("task", _task(study)),
        ("objective", f"{study.objective.direction} {study.objective.metric}"),
        ("search", f"{study.trials} trials{timeout}; sampler {search.sampler}, pruner {search.pruner}"),
        ("seeds", f"{search.seeds} for each trial, from seed {search.seed}"),
        ("training", _training(study, plan)),
        *_order(study),
    ]


def _task(study: StudyConfig) -> str:
    entry = study.task.entry
    if study.task.name == "command":
        return entry.summary
    return entry.name if entry.name == entry.label else f"{entry.label}, of {entry.name}"


def _plan(study: StudyConfig) -> tuple[Plan, list[tuple[str, str]]]:
    """The plan that the search will make, and what is known of the model.

    Of a reference task that is what can be known without torch. A user's task is loaded and trained a little.
    """
    from adamtune.engines.plan import expected_plan, workers_plan
    from adamtune.search.fleets import fleet_of, training_device
    from adamtune.tasks.program import ProgramEntry

    model: list[tuple[str, str]] = []
    seeds = study.search.seeds
    if isinstance(study.task.entry, ProgramEntry):
        plan = workers_plan(study.workers, seeds)
    elif None in (sizes := [each.step_bytes() for each in study.task_extremes()]):
        plan, model = _measured(study)
    else:
        step_bytes = max(each for each in sizes if each is not None)
        device, _ = training_device(study)
        plan = expected_plan(study.engine, study.population, device, seeds, step_bytes)
    if fleet := fleet_of(study):
        return fleet.plan(fleet.workers, plan, study.trials, seeds, study.population), model
    return plan.for_trials(study.trials, seeds, study.population), model


def _measured(study: StudyConfig) -> tuple[Plan, list[tuple[str, str]]]:
    """The plan of a study of a user's task, and its largest model in lines for people."""
    from adamtune.cli.options import slow_imports

    with slow_imports():
        from adamtune.search.preparation import new_plan
        from adamtune.search.task_check import largest_tasks, measure
        from adamtune.search.trial import Tasks

    tasks = Tasks(study)
    measured = measure(study, tasks)
    with redirect_stdout(sys.stderr):  # what the task prints is no output of this program
        plan = new_plan(study, tasks, measured)
    largest = largest_tasks(study, tasks, measured)[0][0]
    return plan, _model(study, plan, largest, measured[largest])


def _model(study: StudyConfig, plan: Plan, task: LoadedTask, model: Measurement) -> list[tuple[str, str]]:
    from adamtune.reports.text import duration, significant

    trainings = study.trials * study.search.seeds
    seconds = trainings * task.steps * model.step_seconds
    mebibytes = (model.kept_bytes + STATE_BYTES * model.parameters) / 2**20
    return [
        ("model", f"{model.parameters:,} parameters; {significant(mebibytes)} MiB for each training"),
        (
            "time",
            f"{duration(seconds)} one after the other in plain torch: {trainings} trainings of {task.steps}"
            f" steps of {significant(1000 * model.step_seconds)} ms{LESS.get(plan.engine, '')}",
        ),
        ("metrics", ", ".join(model.metrics)),
    ]


def _training(study: StudyConfig, plan: Plan) -> str:
    is_open = study.device == "auto" and study.cluster == "none"
    other = "; another number on a GPU, if there is one" if is_open else ""
    return plan.why.removeprefix("Training ") + (other if plan.engine == "population" else "")


def _order(study: StudyConfig) -> Iterator[tuple[str, str]]:
    """Yields what decides the suggestions, if there are workers."""
    from adamtune.search.fleets import fleet_of

    if fleet := fleet_of(study):
        rounds = "workers train in rounds, so that suggestions repeat"
        yield "order", rounds if fleet.rounds else "suggestions depend on which trial ends first"


def _rows(study: StudyConfig) -> Iterator[tuple[str, str, Distribution]]:
    """The name, text and distribution of everything that a trial is trained with."""
    from adamtune.config import Fixed

    space = study.space
    yield "optimizer", _text(space.optimizer), space.optimizer
    yield from _group(space.optimizers)
    yield "schedule", _text(space.schedule), space.schedule
    yield from _group(space.schedules)
    asked = study.recipe._asdict().items() - USUAL._asdict().items()
    recipe = {name: Fixed(value=value) for name, value in sorted(asked)}
    yield from _group({"": {**space.training, **recipe}})
    settled = {name: Fixed(value=value) for name, value in study.task.settings.items()}
    yield from _group({study.task.name: {**settled, **space.task}})


def _group(entries: Mapping[str, Mapping[str, Distribution]]) -> Iterator[tuple[str, str, Distribution]]:
    """The hyperparameters of optimizers or schedules; those that not all have, with their owners' names."""
    groups: dict[tuple[str, str], tuple[Distribution, list[str]]] = {}
    for entry, hyperparameters in entries.items():
        for name, each in hyperparameters.items():
            groups.setdefault((name, _with_trained(name, each)), (each, []))[1].append(entry)
    for (name, text), (each, owners) in groups.items():
        yield name, text if len(owners) == len(entries) else f"{text} ({', '.join(owners)})", each


def _with_trained(name: str, distribution: Distribution) -> str:
    """A distribution; that of a complement is followed by the hyperparameter as it is trained."""
    from adamtune.catalog import as_trained

    trained, _ = as_trained(name, 0.0)
    if trained == name:
        return _text(distribution)
    values = _values(distribution, lambda value: as_trained(name, value)[1])
    return f"{_text(distribution)} ({trained} {values})"


def _text(distribution: Distribution) -> str:
    return _values(distribution) + (", log" if getattr(distribution, "log", False) else "")


def _values(distribution: Distribution, convert: Callable[[Any], Any] = lambda value: value) -> str:
    from adamtune.config import Range
    from adamtune.reports.text import setting

    separator = " to " if isinstance(distribution, Range) else ", "
    return separator.join(setting("", digits=12)(convert(each)) for each in distribution.extremes())
