"""How many trainings run in lockstep: from what is known before training, and without torch.

Nothing is timed, because the same study file must give the same study. The figures come from
``benchmarks.scaling``; docs/performance.md has the tables.
"""

from __future__ import annotations

import os

CACHE = {"cpu": 16 * 2**20, "cuda": 4 * 2**30, "mps": 2**30}
"""Bytes of working memory that a thread of a device computes fastest with."""
MOST = {"cpu": 128, "cuda": 1024, "mps": 256}
"""More members a group gain nothing, even if they are small."""
ROUNDS = 4
"""A population is at most this part of the study's trainings: suggestions must learn from results."""


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slots(step_bytes: int, device: str, trials: int, seeds: int) -> int:
    """Members in training at once.

    Args:
        step_bytes: what one member's training step works in.
        device: "cpu", "cuda" or "mps".
        trials: the study's trials.
        seeds: members of a trial; they are trained together.
    """
    threads = cores() if device == "cpu" else 1
    fitting = max(1, min(CACHE[device] // step_bytes, MOST[device]))
    group: int = 2 ** (fitting.bit_length() - 1)
    wanted = max(threads, trials * seeds // ROUNDS)
    return max(seeds, min(group * threads, wanted) // seeds * seeds)


def threads(slots: int, device: str) -> int:
    """Groups that train side by side."""
    return min(cores(), slots) if device == "cpu" else 1


def said(slots: int, device: str, reason: str) -> str:
    """The choice in a line."""
    side_by_side = f" on {threads(slots, device)} threads" if threads(slots, device) > 1 else ""
    return f"{slots} trainings in lockstep{side_by_side} on {device}: {reason}"


def reason(step_bytes: int, trials: int, seeds: int) -> str:
    """Why ``slots`` are so many."""
    return f"one works in {step_bytes / 2**20:.2g} MiB, and the study has {trials * seeds}"
