"""Reads a study file: the study, or all problems of the file at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adamtune.config.aliases import illegal_value, unknown_name
from adamtune.config.baseline import read_baseline
from adamtune.config.document import encodable, read_text, read_yaml
from adamtune.config.keys import WORKER_KEYS, ObjectiveSection, ScalarKeys, Search, StudyFile
from adamtune.config.numbers import read_number
from adamtune.config.problems import Problems, printable, show
from adamtune.config.program_section import check_command
from adamtune.config.space import Range, Space
from adamtune.config.space_section import read_space
from adamtune.config.study import Objective, StudyConfig
from adamtune.config.task_choice import CommandChoice, TaskChoice
from adamtune.config.task_section import read_task
from adamtune.config.validation import validate
from adamtune.recipe import USUAL
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.objects import GivenTask
from adamtune.tasks.program import ProgramEntry

Overrides = Mapping[str, object]
"""Values by dotted key path, such as ``{"search.trials": 8}``; a text is read as the file would be."""

NO_OVERRIDES: Overrides = MappingProxyType({})


def load_study(
    path: Path, overrides: Overrides = NO_OVERRIDES, option: str = "--", task: GivenTask | None = None
) -> StudyConfig:
    """The study of a file.

    Args:
        path: the study file.
        overrides: values that replace the file's. Problems with them name the option, such as ``--trials``.
        option: what the name of an option begins with.
        task: replaces the file's task, but for settings that the file has and it has not.

    Raises:
        StudyFileError: the file or an override is wrong; the error has all problems.
    """
    return parse_study(read_text(path), str(path), overrides, path.parent, option, task)


def parse_study(
    text: str,
    source: str,
    overrides: Overrides = NO_OVERRIDES,
    folder: Path = Path(),
    option: str = "--",
    task: GivenTask | None = None,
) -> StudyConfig:
    """The study of a text.

    Args:
        text: the content of a study file.
        source: the name of the text in messages.
        overrides, option, task: as for ``load_study``.
        folder: the folder that files named in the text are relative to.

    Raises:
        StudyFileError: the text or an override is wrong; the error has all problems.
    """
    problems = Problems(printable(source), text)
    data = read_yaml(text, problems)
    if not isinstance(data, dict):
        problems.add((), illegal_value(data, f"a mapping of {', '.join(StudyFile.model_fields)}"))
        problems.raise_if_any()
    assert isinstance(data, dict)
    _override(data, overrides, problems, option)
    if task is not None:
        own = data.get("task")
        data["task"] = {**(own if isinstance(own, dict) else {}), **task.settings, "name": task.entry.name}
    study = _read(data, text, problems, folder, task and task.object)
    problems.raise_if_any()
    assert study is not None
    return study


def override_search(study: StudyConfig, overrides: Overrides, option: str = "--") -> StudyConfig:
    """A stored study with other values of its ``search`` section, or with other workers.

    Args:
        study: the stored study.
        overrides: the values, such as ``{"search.trials": 8, "cluster": "ray:auto"}``.
        option: what the name of an option begins with in messages.

    Raises:
        StudyFileError: an override is wrong.
    """
    problems = Problems(study.name)
    data: dict[str, Any] = {"name": study.name, "search": study.search.model_dump(mode="json")}
    _override(data, overrides, problems, option)
    search = validate(Search, data.pop("search"), ("search",), problems)
    scalars = validate(ScalarKeys, data, (), problems)
    problems.raise_if_any()
    workers = {key: getattr(scalars, key) for key in WORKER_KEYS if key in data}
    changed = study.model_copy(update={"search": search, **workers})
    if workers:
        _check_gpus(changed, problems)
        problems.raise_if_any()
    return changed


def _override(data: dict[str, Any], overrides: Overrides, problems: Problems, option: str) -> None:
    for dotted_path, value in overrides.items():
        *sections, key = path = dotted_path.split(".")
        holder: Any = data
        for section in sections:
            holder = holder.setdefault(section, {}) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):  # the file's own section is the problem
            continue
        problems.options[tuple(path)] = f"{option}{key}"
        if isinstance(value, str):
            text = encodable(value, tuple(path), problems)
            holder[key] = read_number(text) if sections else text  # name and storage are texts
        else:
            holder[key] = value


def _read(
    data: dict[str, Any], text: str, problems: Problems, folder: Path, given: TaskEntry | None
) -> StudyConfig | None:
    """The study, or None after problems are recorded."""
    file = validate(StudyFile, data, (), problems)
    section = {name: data.get(name, each.get_default()) for name, each in StudyFile.model_fields.items()}
    raw_space = section["space"]
    raw_searched = raw_space.get("task", {}) if isinstance(raw_space, dict) else {}
    chosen = read_task(data["task"], raw_searched, problems, folder, given) if "task" in data else (None, {})
    task, searched = chosen
    settings = [*task.entry.fields, *task.settings] if task else ()
    space = read_space(section["optimizer"], raw_space, searched, problems, settings)
    if isinstance(task, CommandChoice):
        check_command(task, space, problems)
    if file and task:
        _check_engine(file, task, problems)
    search = validate(Search, section["search"], ("search",), problems)
    objective = _objective(section["objective"], task, problems)
    if search and search.sampler == "grid":
        _reject_ranges(space, problems)
    baseline = read_baseline(section["baseline"], problems)
    if file and search:
        _check_curves(file.storage, search, problems)
    if not (file and task and search and objective and baseline):
        return None
    return StudyConfig(
        **{name: getattr(file, name) for name in ScalarKeys.model_fields},
        task=task,
        space=space,
        search=search,
        objective=objective,
        baseline=baseline,
        text=text,
    )


def _objective(raw: object, task: TaskChoice | CommandChoice | None, problems: Problems) -> Objective | None:
    section = validate(ObjectiveSection, raw, ("objective",), problems)
    if section is None or task is None:
        return None
    entry, metrics = task.entry, task.metrics
    metric = section.metric or next(iter(metrics))
    # Other metrics of a user's task are known once they are computed, before the first trial.
    if metric in metrics or (section.direction and entry.has_other_metrics):
        return Objective(metric=metric, direction=section.direction or metrics[metric])
    message = unknown_name(f"metric of {entry.label}", metric, metrics)
    if entry.has_other_metrics:
        message += (
            f". If {entry.label} reports it, say which way is good: {{metric: {metric}, direction: maximize}}"
            " (or minimize), or in the task's directions"
        )
    problems.add(("objective", "metric"), message)
    return None


def _check_engine(file: StudyFile, task: TaskChoice | CommandChoice, problems: Problems) -> None:
    """Records problems of keys that do not apply to the kind of the task."""
    is_program = isinstance(task.entry, ProgramEntry)
    _check_gpus(file, problems)
    if file.device == "mps" and file.precision == "float64":
        problems.add(("precision",), "found float64, which device: mps does not have; use device: cpu")
    for key in ("engine", "population", "device", *USUAL._fields) if is_program else ():
        value, advice = getattr(file, key), "functions and commands have workers"
        if key in USUAL._fields:
            advice = "functions and commands have a training loop of their own"
        if value != StudyFile.model_fields[key].default:
            problems.add((key,), f"found {show(value)}, which does not apply to {task.entry.label}: {advice}")


def _check_curves(storage: str, search: Search, problems: Problems) -> None:
    """Records problems of a study whose curves cannot be removed."""
    reason = None
    if search.pruner == "median":
        reason = "pruner: median compares trials with the curves of all complete ones; use asha or hyperband"
    elif storage.startswith("journal:"):
        reason = "a journal only grows: nothing is removed from it; use a file or a database server"
    if reason and search.keep_curves != "all":
        found = f"found {show(search.keep_curves)}, but {reason}, or keep_curves: all"
        problems.add(("search", "keep_curves"), found)


def _check_gpus(file: ScalarKeys, problems: Problems) -> None:
    """Records problems of GPUs and of a device that do not go together."""
    gpus, device = file.gpus, file.device
    if gpus > 1 and not gpus.is_integer():
        problems.add(("gpus",), f"found {gpus:g}; allowed: a part of one GPU, or a whole number")
    if gpus and device in ("cpu", "mps"):
        problems.add(("gpus",), f"found {gpus:g}, which device: {device} does not use; use device: auto")
    if file.cluster != "none" and not gpus and device in ("cuda", "mps"):
        advice = "; set gpus to the GPUs of each worker" if device == "cuda" else "; use device: auto"
        problems.add(("device",), f"found {device}, which workers of a cluster do not get{advice}")


def _reject_ranges(space: Space, problems: Problems) -> None:
    for _, path, each in space.distributions():
        if isinstance(each, Range):
            allowed = "a value or a list of values, for the grid sampler"
            problems.add(path, illegal_value(each.file_value(), allowed))
