"""Reads ``optimizer`` and ``space`` of a study file: a distribution for every hyperparameter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from adamtune.catalog import NONE, ONE_MINUS, TRAINING, Entry, as_trained
from adamtune.config.aliases import find_alias, illegal_value, unknown_key, unknown_name
from adamtune.config.distributions import DistributionReader, legal_type
from adamtune.config.problems import KeyPath, Problems, show
from adamtune.config.space import Distribution, Fixed, Space, combinations
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS

OPTIMIZER, SCHEDULE = ("space",), ("space", "schedule")
"""The key paths of the mappings that hold the hyperparameters of optimizers and of schedules."""

OF_TASK = "unknown here; a fixed setting of the task goes to task, a searched one to space.task"

Distributions = dict[str, dict[str, Distribution]]
"""Hyperparameters by optimizer or schedule."""


def read_space(
    optimizer: object,
    space: object,
    task: Mapping[str, Distribution],
    problems: Problems,
    settings: Collection[str] = (),
) -> Space:
    """The space of a study, which is complete only if no problem is recorded.

    Args:
        optimizer: the file's ``optimizer``.
        space: the file's ``space``.
        task: the searched settings of the task.
        problems: receives the problems found.
        settings: the names of the settings of the task.
    """
    if not isinstance(space, dict):
        problems.add(OPTIMIZER, illegal_value(space, "a mapping of hyperparameters, schedule and task"))
        space = {}
    raw = {key: each for key, each in space.items() if key not in ("schedule", "task")}
    for key in [each for each in raw if each in settings and not owners(each, OPTIMIZERS)]:
        problems.add((*OPTIMIZER, key), OF_TASK)
        del raw[key]
    of_training = {key: raw.pop(key) for key in list(raw) if key in TRAINING.forms}
    training = _hyperparameters(TRAINING, (TRAINING,), of_training, OPTIMIZER, problems)
    given = {name: each for name, each in training.items() if each != Fixed(value=TRAINING.defaults[name])}
    optimizers = _read_group(optimizer, ("optimizer",), raw, OPTIMIZER, problems)
    _check_together(optimizers, raw, problems)
    schedule = space.get("schedule", "constant")
    path = (*SCHEDULE, "name") if isinstance(schedule, dict) else SCHEDULE
    schedule = dict(schedule) if isinstance(schedule, dict) else {"name": schedule}
    names = schedule.pop("name", "constant")
    schedules = _read_group(names, path, schedule, SCHEDULE, problems)
    return Space(optimizers=optimizers, schedules=schedules, task=task, training=given)


def owners(name: str, catalog: Mapping[str, Entry]) -> list[str]:
    """The optimizers or schedules that have a hyperparameter of this name."""
    return [entry.name for entry in catalog.values() if name in entry.forms]


def _read_group(
    names: object, names_path: KeyPath, raw: dict[str, object], path: KeyPath, problems: Problems
) -> Distributions:
    """The hyperparameters of the optimizers or of the schedules.

    Args:
        names: one name or a list of names, as in the file.
        names_path: the key path of ``names``.
        raw: the hyperparameters in the file.
        path: OPTIMIZER or SCHEDULE.
        problems: receives the problems found.
    """
    what, catalog = ("optimizer", OPTIMIZERS) if path == OPTIMIZER else ("schedule", SCHEDULES)
    # If a name is wrong, nobody knows which hyperparameters apply: they are checked as if all did.
    entries = [catalog[name] for name in _read_names(names, what, catalog, names_path, problems) or catalog]
    for key in raw:
        if not any(key in entry.forms for entry in entries):
            problems.add((*path, key), _inapplicable(key, entries, path))
        if ONE_MINUS + key in raw:
            problems.add((*path, ONE_MINUS + key), f"found with {key}, which says the same; keep one")
    return {entry.name: _hyperparameters(entry, entries, raw, path, problems) for entry in entries}


def _read_names(
    raw: object, what: str, catalog: Mapping[str, Entry], path: KeyPath, problems: Problems
) -> list[str] | None:
    """The names, or None after problems are recorded."""
    names = raw if isinstance(raw, list) else [raw]
    if not names:
        problems.add(path, f"found an empty list; allowed: {', '.join(catalog)}")
        return None
    legal: list[str] = []
    for index, name in enumerate(names):
        place = (*path, index) if isinstance(raw, list) else path
        if not isinstance(name, str):
            problems.add(place, illegal_value(name, ", ".join(catalog), catalog))
        elif name not in catalog:
            problems.add(place, unknown_name(what, name, catalog))
            alias = find_alias(name, catalog)
            legal += [alias.name] if alias else []  # so that its hyperparameters are checked, too
        elif name in legal:
            problems.add(place, f"found {show(name)} twice; keep one")
        else:
            legal.append(name)
    return legal if len(legal) == len(names) else None


def _hyperparameters(
    entry: Entry, entries: Sequence[Entry], raw: dict[str, object], path: KeyPath, problems: Problems
) -> dict[str, Distribution]:
    """Every hyperparameter of ``entry``: as in the file, or fixed at its default."""
    complete: dict[str, Distribution] = {}
    for plain in entry.hyperparameters:
        complete[plain.name] = Fixed(value=plain.default)
        for form in (each for each in plain.forms if each.name in raw):
            note = f" for {entry.name}" if _ranges_differ(form.name, entries) else ""
            note += f", or {NONE}" if form.optional else ""
            reader = DistributionReader(legal_type(form), problems, note, form.optional)
            distribution = reader.read(raw[form.name], (*path, form.name))
            if distribution is not None:
                complete.pop(plain.name, None)
                complete[form.name] = distribution
    return complete


def _check_together(optimizers: Distributions, raw: dict[str, object], problems: Problems) -> None:
    """Records, for each optimizer, the first combination of hyperparameters that it refuses."""
    for name, hyperparameters in optimizers.items():
        refused = (each for each in combinations(hyperparameters) if _refusal(name, each))
        for first in islice(refused, 1):
            defaults = {key: value for key, value in OPTIMIZERS[name].defaults.items() if key in raw}
            culprits = [key for key, value in defaults.items() if not _refusal(name, {**first, key: value})]
            problems.add((*OPTIMIZER, *culprits[:1]), _refusal(name, first))


def _refusal(name: str, combination: dict[str, Any]) -> str:
    try:
        OPTIMIZERS[name].check(dict(as_trained(*each) for each in combination.items()))
    except ValueError as error:
        return str(error)
    return ""


def _ranges_differ(name: str, entries: Sequence[Entry]) -> bool:
    forms = [entry.forms.get(name) for entry in entries]
    return len({each.legal for each in forms if each}) > 1


def _inapplicable(key: str, entries: Sequence[Entry], path: KeyPath) -> str:
    """The message for a key of ``space`` or ``space.schedule`` that no chosen optimizer or schedule has."""
    here = OPTIMIZERS if path == OPTIMIZER else SCHEDULES
    keys = list({name: None for entry in entries for name in entry.forms})
    if others := owners(key, here):
        chosen = ", ".join(entry.name for entry in entries)
        alias = find_alias(key, keys)
        advice = f"; for {chosen} write {alias.advice}" if alias else ""
        return f"can never apply: {chosen} does not have {key}; these have it: {', '.join(others)}{advice}"
    if path == OPTIMIZER and any(key in task.fields for task in TASKS.values()):
        return OF_TASK
    extra = (*TRAINING.forms, "schedule", "task") if path == OPTIMIZER else ("name",)
    return unknown_key("hyperparameter", key, [*keys, *extra])
