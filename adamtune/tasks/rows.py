"""How many rows are trained on, and how many batches they make; torch-free."""

from __future__ import annotations

from math import ceil

EVALUATIONS = 10
"""Evaluations in one training: one after each tenth of its steps."""


def training_rows(rows: int) -> int:
    """How many of ``rows`` are trained on: four fifths, the rest being for validation."""
    return rows * 4 // 5


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """The full batches in one pass over ``rows``.

    The rows left over are not trained on in that pass (the next one is shuffled anew): every batch of
    every member then has the same shape, which is what lets members be trained together.

    Raises:
        ValueError: not even one batch can be filled.
    """
    if batch_size > rows:
        raise ValueError(f"batch_size {batch_size} is more than the {rows} training rows: use at most {rows}")
    return rows // batch_size


def evaluation_interval(steps: int) -> int:
    """Steps between two evaluations, so that a training has at most ``EVALUATIONS`` of them."""
    return ceil(steps / EVALUATIONS)
