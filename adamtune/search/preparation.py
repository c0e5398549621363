"""What a study trains and how: decided when it begins, and checked when it goes on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256

from adamtune.config import StudyConfig
from adamtune.engines.plan import Plan, is_available, make_plan, workers_plan
from adamtune.errors import Refused, UsageError
from adamtune.search.fleets import training_device
from adamtune.search.programs import Programs
from adamtune.search.task_check import Measured, largest_tasks
from adamtune.search.trial import Tasks
from adamtune.storage.session import Session
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.program import ProgramEntry


def prepare(session: Session) -> tuple[Tasks | Programs, Plan]:
    """What the study trains and how, checked against what was trained before.

    Raises:
        UsageError: the task has a mistake, or the device is not there.
        Refused: the code or the data has changed.
    """
    config, entry = session.config, session.config.task.entry
    if isinstance(entry, ProgramEntry):
        check_code(session, entry)
        plan = workers_plan(config.workers, config.search.seeds)
        session.set_attribute("plan", asdict(plan))
        return Programs(config, entry, session.study), plan
    tasks = Tasks(config)
    check_code(session, entry)
    _check_data(session, tasks)
    return tasks, _plan(session, tasks)


def check_code(session: Session, entry: TaskEntry | ProgramEntry) -> None:
    """Keeps the hash of a user's code with a new study.

    Raises:
        Refused: an existing study was trained with other code.
    """
    kept, now = session.attribute("code_hash"), entry.code_hash
    if kept is None and now is not None:
        session.set_attribute("code_hash", now)
    elif kept != now:
        what = f"{entry.file}, or a file that it imports from its folder, has changed since"
        if entry.file is None:
            changed = f"{entry.label}, or something that it uses, has changed since"
            what = changed if now else f"the source of {entry.label} is not known here"
        raise Refused(
            f"study {session.config.name} was trained with other code: {what}. Put the old code back, or"
            " start a new study under another name."
        )


def _check_data(session: Session, tasks: Tasks) -> None:
    """Keeps the hash of all data that a trial may use with a new study.

    Raises:
        Refused: an existing study was trained on other data.
    """
    config, kept = session.config, session.attribute("data_hash")
    hashes = sorted({each.data_hash for each in tasks.extremes()})
    now = hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()
    if kept is None:
        session.set_attribute("data_hash", now)
    elif kept != now and kept != _default_hash(tasks, now):
        raise Refused(
            f"study {config.name} was trained on other data: its hash is {kept[:12]}, now it is"
            f" {now[:12]}. {_way_back(session, tasks)}, or start a new study under another name."
        )


def _way_back(session: Session, tasks: Tasks) -> str:
    """What to do to have the data again that a study was begun with."""
    if tasks.entry.is_own:
        return "Put the old data back (and seed what data() draws)"
    if path := session.config.task.settings.get("data"):
        return f"Put the old {path} back"
    versions = session.attribute("versions") or {}
    known = ", ".join(f"{name} {versions[name]}" for name in ("adamtune", "python") if name in versions)
    return (
        "The data sets come with adamtune, scikit-learn and Python, and have a test part since adamtune"
        f" 0.4.0: resume it with the versions that it was begun with ({known})"
    )


def _default_hash(tasks: Tasks, other: str) -> str:
    """The hash that adamtune 0.1.0 kept: of the default's data; ``other`` where the default is not legal."""
    with suppress(UsageError):
        return tasks.of({}).data_hash
    return other


def _plan(session: Session, tasks: Tasks) -> Plan:
    """How the study is trained: decided once, so that a resumed study continues as it began."""
    kept, config = session.attribute("plan"), session.config
    if kept is not None:
        plan = Plan(**kept)
        if config.cluster == "none" and not is_available(plan.device):
            raise UsageError(
                f"study {config.name} was begun on {plan.device}, which is not available here."
                " Resume it where it is available, or start a new study under another name."
            )
        return plan
    plan = new_plan(config, tasks)
    session.set_attribute("plan", asdict(plan))
    return plan


def new_plan(config: StudyConfig, tasks: Tasks, measured: Measured | None = None) -> Plan:
    """The plan of a new study: that of the largest of its models, unless some cannot be trained in lockstep.

    Args:
        config: the study.
        tasks: the study's tasks.
        measured: what ``measure`` returned, if it was called.

    Raises:
        UsageError: the task has a mistake, or the device is not there.
    """
    plans, (device, is_here) = [], training_device(config)
    for task, step_bytes in largest_tasks(config, tasks, measured):
        options = config.engine, config.population, device, config.search.seeds, config.optimizers
        plans.append(make_plan(task, *options, step_bytes, is_here))
    return max(plans, key=lambda each: ENGINES.index(each.engine))


ENGINES = ("population", "side_by_side", "sequential")
"""The engines; each trains also what those before it cannot."""
