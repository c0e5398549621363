"""Training and validation rows, and the hash that tells one data set from another."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adamtune.tasks.protocol import Rows
from adamtune.tasks.rows import training_rows

SPLIT_SEED = 0
"""All studies share one split, whatever their seed: their values can be compared."""


@dataclass(frozen=True, eq=False)
class Split:
    """A data set, ready to train on. Loaders share one Split among callers: do not write to it."""

    train: Rows
    validation: Rows
    hash: str
    """SHA-256 (hex) of every tensor's type, shape and content."""


def shuffle_split(*arrays: NDArray[Any], stratify: NDArray[Any] | None = None) -> list[NDArray[Any]]:
    """Four fifths for training, one for validation: train and validation of each array in turn.

    ``stratify`` holds labels whose shares are to be the same in both parts.
    """
    order = np.random.RandomState(SPLIT_SEED).permutation(len(arrays[0]))
    by_label = np.arange(len(order)) if stratify is None else np.argsort(stratify[order], kind="stable")
    held_out = np.zeros(len(order), dtype=bool)
    held_out[by_label[::5]] = True
    assert (~held_out).sum() == training_rows(len(order))
    return [array[order[part]] for array in arrays for part in (~held_out, held_out)]


def standardise(
    train: NDArray[np.float64], validation: NDArray[np.float64], axis: int | None = 0
) -> tuple[Tensor, Tensor]:
    """Both parts as float32, scaled so that ``train`` has mean 0 and standard deviation 1 along ``axis``.

    Statistics come from ``train`` alone. They are taken in float64 and rounded once, so that the data
    (and their hash) do not depend on the order in which a machine adds up.
    """
    mean, deviation = train.mean(axis), train.std(axis)
    scaled = ((part - mean) / deviation for part in (train, validation))
    first, second = (torch.from_numpy(part.astype(np.float32)) for part in scaled)
    return first, second


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 (hex) of the tensors' types, shapes and contents."""
    digest = sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
