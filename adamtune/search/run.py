"""Runs a search: opens the study that a file asks for, plans its training, and runs the loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from types import FrameType
from typing import Any

import optuna
import torch

from adamtune.analysis.looks import Plan as Looks
from adamtune.analysis.looks import confirmation_plan
from adamtune.config import StudyConfig, override_search
from adamtune.engines.plan import Plan
from adamtune.errors import AdamtuneError
from adamtune.search.confirmation import (
    ATTRIBUTE,
    ConfirmationLoop,
    begin_confirmation,
    is_ablated,
    most_at_once,
)
from adamtune.search.faults import training_faults
from adamtune.search.loop import Loop
from adamtune.search.notes import notes
from adamtune.search.preparation import check_code, prepare
from adamtune.search.programs import Programs
from adamtune.search.progress import Observer, Outcome, Reason
from adamtune.search.samplers.per_trial import check_packages
from adamtune.search.tracker import Tracker
from adamtune.search.trial import Tasks
from adamtune.search.workers import Staff
from adamtune.storage.local.lock import study_lock
from adamtune.storage.location import local_path, trials_folder
from adamtune.storage.open_session import open_session, storage_errors
from adamtune.storage.session import Session
from adamtune.storage.studies import stored_config
from adamtune.tasks.program import ProgramEntry
from adamtune.tasks.randomness import kept_generators


def run(config: StudyConfig, observe: Observer, abandon: bool = False) -> Outcome:
    """Trains the remaining trials of a study file, in a new study or in the one of that name.

    Args:
        config: the study file.
        observe: called after every round.
        abandon: give up the trials that were in training in a local file, and their checkpoint.

    Raises:
        Refused: the study exists with other settings or data, or another process runs it.
        UsageError: the task's settings do not fit its data, or the device is not there.
        AdamtuneError: the run failed; what was committed is kept.
    """
    check_packages(config.search.sampler)
    shared = local_path(config.storage) is None
    guard = storage_errors(config.storage) if shared else study_lock(config.storage, config.name)
    with _quiet_optuna(), guard, closing(open_session(config)) as session:
        if abandon:
            session.discard_running()
        return _search(session, observe)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """While it is entered, Optuna logs warnings alone."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def resume(
    location: str, name: str, overrides: Mapping[str, Any], observe: Observer, abandon: bool = False
) -> Outcome:
    """``run`` of a study as the storage knows it.

    Args:
        location: the storage.
        name: the study.
        overrides: ``search.trials`` and ``search.timeout``, where they are to change.
        observe: called after every round.
        abandon: as ``run``.

    Raises:
        UsageError: there is no such study, or an override is wrong.
        AdamtuneError: as ``run``.
    """
    return run(override_search(stored_config(location, name), overrides), observe, abandon)


def _search(session: Session, observe: Observer) -> Outcome:
    config, foreign = session.config, session.foreign_trials()
    tracker = Tracker(session.study, config.objective.metric, config.trials, foreign)
    saved = session.checkpoint()
    searched = not tracker.counts["running"] and tracker.begun >= config.trials
    confirming = confirmation_plan(config, isinstance(config.task.entry, ProgramEntry))
    if searched and not (saved or (confirming and _lacks_verdict(session, confirming))):
        check_code(session, config.task.entry)
        return Outcome("already_complete", tracker.progress())
    staff = Staff(config, saved["engine"] if saved else None)
    with ExitStack() as stack:
        try:
            stack.enter_context(staff.gather())
            with training_faults(config.name):
                tasks, kept = prepare(session)
        except AdamtuneError:
            session.delete_if_empty()  # it is not to be listed as a study that was begun
            raise
        reason = _train(session, staff, tasks, kept, tracker, observe, confirming)
    return Outcome(reason, tracker.progress())


def _train(
    session: Session,
    staff: Staff,
    tasks: Tasks | Programs,
    kept: Plan,
    tracker: Tracker,
    observe: Observer,
    confirming: Looks | None,
) -> Reason:
    """Trains the remaining trials, then confirms the result."""
    config, saved = session.config, session.checkpoint()
    saved_search = None if saved and "confirmation" in saved else saved
    # Members in training keep their slots, though the total may be lower now.
    plan = staff.plan(kept, saved_search.get("slots", kept.slots) if saved_search else 0)
    surprises = _surprises(tracker, config.trials, session.foreign_trials())
    for line in (plan.why, *notes(config, staff.slots(plan)), *surprises):
        tracker.note(line)

    def observe_now() -> None:
        staff.report(tracker)
        observe(tracker.progress())

    device = torch.device("cpu" if config.cluster != "none" else plan.device)
    with interruptions(lambda: tracker.note(STOPPING)) as interrupted, kept_generators(device):

        def stop() -> Reason | None:
            if interrupted():
                return "interrupted"
            timeout = config.search.timeout
            return "timeout" if timeout is not None and tracker.elapsed > timeout else None

        folder = trials_folder(config.storage, config.name)
        with staff.start(plan, kept, folder) as engine:
            loop = Loop(session, engine, tasks, tracker)
            if saved_search is not None:
                loop.restore(saved_search)
            reason = loop.run(stop, observe_now)
        if reason == "complete" and confirming is not None and session.claim_confirmation():
            confirmation = begin_confirmation(session, confirming)
            plan = staff.confirmation_plan(kept, most_at_once(confirming))
            with staff.start(plan, kept, folder / "confirmation") as engine:
                stage = ConfirmationLoop(session, engine, tasks, tracker, confirmation)
                if saved is not None and saved is not saved_search:
                    stage.restore(saved)
                reason = stage.run(stop, observe_now)
    return reason


def _lacks_verdict(session: Session, plan: Looks) -> bool:
    """Whether the confirmation of a complete search is not complete, or is that of fewer trials."""
    stored, now = session.attribute(ATTRIBUTE), begin_confirmation(session, plan)
    if not now.finalists:
        return False
    if stored is None or now.missing() or now.generation != stored["generation"]:
        return True
    return is_ablated(session.config, plan) and not now.ablated and now.is_better


def _surprises(tracker: Tracker, trials: int, foreign: int) -> Iterator[str]:
    """Yields a line for each thing in the study that this run cannot change."""
    running = tracker.counts["running"]
    if running and tracker.begun > trials:
        yield f"{running} trials in training are finished, and no more are begun: the total is {trials} now."
    if foreign:
        yield f"Trials of another program that are running in the study: {foreign}; they are not counted."


STOPPING = "stopping: what is done is being saved; Ctrl-C again stops at once"


@contextmanager
def interruptions(note_stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """A function that tells whether Ctrl-C or SIGTERM came. The second of them ends at once.

    Signals come to the main thread alone: in another, nothing interrupts.

    Args:
        note_stop: called at the first.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        note_stop()

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
