"""Seeds that depend on what is drawn, never on how many draws came before."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256

import torch
from torch import Tensor

from adamtune.tasks.base import Task, batches_per_epoch


def derive(*parts: int | str) -> int:
    """A seed for the draw that ``parts`` name, such as ``derive(seed, "weights", replicate)``.

    The first 32 bits of the SHA-256 of the parts as a JSON array: as many as both torch's CPU
    generator and NumPy's ``RandomState`` take. Equal parts give equal seeds on every machine and
    Python version; 1 and "1" are different parts.

    Returns:
        an integer in [0, 2**32).
    """
    return int.from_bytes(sha256(json.dumps(parts).encode()).digest()[:4])


def initial_parameters(task: Task, seed: int, replicate: int) -> dict[str, Tensor]:
    """The weights that a replicate starts from, by name; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the accelerators too, which fork_rng does not put back here.
        torch.default_generator.manual_seed(derive(seed, "weights", replicate))
        module = task.build()
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def batch_indices(task: Task, seed: int, replicate: int, start: int, stop: int) -> Tensor:
    """The training rows of the updates that lead from step ``start`` to step ``stop``.

    Each epoch is a new permutation of the training rows, cut into full batches.

    Returns:
        int64 ``[stop - start, batch_size]``: row t is the batch of the update from step start + t.

    Raises:
        ValueError: the batch is larger than the training data.
    """
    rows = len(task.train[0])
    batches = batches_per_epoch(rows, task.batch_size)
    pieces = []
    while start < stop:
        epoch, first = divmod(start, batches)
        last = min(batches, first + stop - start)
        order = _permutation(rows, derive(seed, "batches", replicate, epoch))
        pieces.append(order[first * task.batch_size : last * task.batch_size])
        start += last - first
    return torch.cat(pieces).view(-1, task.batch_size)


# A stretch of steps mostly stays within one epoch, and the transformer's 418,000 windows take
# milliseconds to permute: each replicate in training keeps its current epoch.
@lru_cache(maxsize=8)
def _permutation(rows: int, seed: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
