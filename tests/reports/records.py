"""Records to report on, made by hand."""

from __future__ import annotations

from typing import Any

from adamtune.storage.records import State, StudyRecord, TrialRecord

SETTINGS = {
    "optimizer": "adamw",
    "lr": 0.00308,
    "beta1": 0.91,
    "beta2": 0.99873,
    "eps": 1e-8,
    "weight_decay": 0.0123,
    "amsgrad": False,
    "schedule": "cosine",
    "warmup_fraction": 0.05,
    "final_fraction": 0.0,
}
SEARCHED = ("lr", "one_minus_beta1", "one_minus_beta2", "eps", "weight_decay")
ALL_SEARCHED = (*SEARCHED, "optimizer", "schedule", "warmup_fraction", "final_fraction")


def trial(
    number: int,
    value: float | None = None,
    state: State = "complete",
    searched: tuple[str, ...] = SEARCHED,
    **changes: Any,
) -> TrialRecord:
    """A trial of 230 steps whose objective fell to ``value``; the keywords replace fields and settings."""
    settings = SETTINGS | {name: changes.pop(name) for name in list(changes) if name in SETTINGS}
    end = 1.0 if value is None else value
    fields: dict[str, Any] = {
        "settings": settings,
        "seeds": [] if value is None else [value],
        "metrics": {} if value is None else {"val_loss": value, "val_accuracy": 0.986},
        "intermediate": {23 * step: end + 1 / step - 0.1 for step in range(1, 11)},
        "steps": 230,
        "seconds": 0.31,
        "diverged_at": None,
    }
    params = {name: settings[name.removeprefix("one_minus_")] for name in searched}
    return TrialRecord(number, state, value, params=params, **(fields | changes))


def study(*trials: TrialRecord, direction: str = "minimize") -> StudyRecord:
    return StudyRecord("digits-cnn", "val_loss", direction, None, None, None, None, {}, trials)


def mixed(searched: tuple[str, ...] = SEARCHED) -> StudyRecord:
    """A trial of every state, not in order of rank."""
    return study(
        trial(0, 0.21, searched=searched, lr=2.5e-5),
        trial(1, state="diverged", searched=searched, lr=0.09, diverged_at=24, steps=24),
        trial(2, 0.0561, searched=searched),
        trial(3, 0.3, "pruned", searched=searched, steps=46),
        trial(4, state="failed", searched=searched, intermediate={}),
        trial(5, state="running", searched=searched, intermediate={}),
        trial(6, 0.0561, searched=searched, beta2=0.999, eps=1e-3),
    )
