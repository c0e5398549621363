"""Starting weights and the order of batches, each from a seed of its own, whatever was drawn before."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256

import torch
from torch import Tensor

from adamtune.tasks.base import batches_per_epoch
from adamtune.tasks.loaded import LoadedTask


def derive(*parts: int | str) -> int:
    """A seed for the draw that ``parts`` name, such as ``derive(seed, "weights", replicate)``.

    The first 32 bits of the SHA-256 of the parts as a JSON array: as many as both torch's CPU
    generator and NumPy's ``RandomState`` take. Equal parts give equal seeds on every machine and
    Python version; 1 and "1" are different parts.

    Returns:
        an integer in [0, 2**32).
    """
    return int.from_bytes(sha256(json.dumps(parts).encode()).digest()[:4])


def initial_parameters(task: LoadedTask, seed: int, replicate: int) -> dict[str, Tensor]:
    """The starting weights of a replicate, by name. The state of torch's global generator does not change."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed the accelerators, whose state fork_rng does not restore here.
        torch.default_generator.manual_seed(derive(seed, "weights", replicate))
        module = task.build()
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def batch_indices(task: LoadedTask, seed: int, replicate: int, start: int, stop: int) -> Tensor:
    """The training rows of each batch from step ``start`` to step ``stop``.

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


# Most calls ask for steps of one epoch, and a permutation of the transformer's 418,000 windows takes
# milliseconds: the current epoch of each replicate in training is kept.
@lru_cache(maxsize=8)
def _permutation(rows: int, seed: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
