"""A study with a trial in every state, and values and names that trackers have rules for."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from adamtune.analysis.ranking import rank
from adamtune.exports.runs import Run, runs
from adamtune.storage.records import StudyRecord, TrialRecord

from ..reports.records import study, trial

BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678000)
NAME = "text/é ü #1"
NESTED = {"hidden": [64, 32], "augment": True, "note": None, "weird:name %": 3, "weird_name _": 4}


def timed(record: TrialRecord) -> TrialRecord:
    """The trial with times: it began so many minutes after ``BEGAN`` as its number, and took a second."""
    begun = BEGAN + timedelta(minutes=record.number)
    ended = None if record.state == "running" else begun + timedelta(seconds=1)
    return replace(record, begun=begun, ended=ended)


def states(**of_running: Any) -> StudyRecord:
    """A study with a trial of every state; the keywords change the trial that is running."""
    complete = trial(0, 0.21, lr=2.5e-5, beta1=0.91)
    trials = (
        replace(complete, settings={**complete.settings, **NESTED}),
        trial(1, None, "diverged", lr=0.09, diverged_at=24, steps=24, intermediate={23: math.inf}),
        trial(2, 0.0561, intermediate={23: math.nan, 46: -math.inf, 230: 0.0561}),
        trial(3, 0.3, "pruned", steps=46, intermediate={23: 0.4, 46: 0.3}),
        trial(4, None, "failed", intermediate={}, failure="exit code 3\n" + "a line of its log\n" * 1000),
        trial(5, None, "running", intermediate={23: 0.5}, steps=23),
    )
    made = study(*map(timed, trials[:5]), timed(replace(trials[5], **of_running)))
    return replace(made, name=NAME, versions={"adamtune": "0.4.0", "torch": "2.13.0"})


def runs_of(study: StudyRecord) -> list[Run]:
    return list(runs(rank(study)))


ENDED = {"state": "complete", "value": 0.4, "metrics": {"val_loss": 0.4, "val_accuracy": 0.9}, "steps": 46}
"""How the running trial ends."""


def ended() -> StudyRecord:
    """The study once its running trial is complete."""
    return states(**ENDED, intermediate={23: 0.5, 46: 0.4})
