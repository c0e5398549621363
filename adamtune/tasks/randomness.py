"""Starting weights and the order of batches, each from a seed of its own, whatever was drawn before."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from adamtune.tasks.base import batches_per_epoch
from adamtune.tasks.pytree import count_rows, take_rows

if TYPE_CHECKING:
    from adamtune.tasks.loaded import LoadedTask


_json = json.JSONEncoder().encode  # json.dumps looks at its options first, which takes as long


def derive(*parts: int | str) -> int:
    """A seed for the draw that ``parts`` name, such as ``derive(seed, "weights", replicate)``.

    The first 32 bits of the SHA-256 of the parts as a JSON array: as many as both torch's CPU
    generator and NumPy's ``RandomState`` take. Equal parts give equal seeds on every machine and
    Python version; 1 and "1" are different parts.

    Returns:
        an integer in [0, 2**32).
    """
    return int.from_bytes(sha256(_json(parts).encode()).digest()[:4])


@contextmanager
def kept_generators(device: torch.device | None = None) -> Iterator[None]:
    """Puts the states of the global generators of torch, NumPy and Python back afterwards.

    Args:
        device: the GPU whose generator is meant along with the CPU's, if it is one.
    """
    kept, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=_gpus(device)):
        try:
            yield
        finally:
            random.setstate(kept)
            np.random.set_state(numpy_state)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seeds the global generators of torch, NumPy and Python, and puts their states back afterwards.

    Args:
        seed: of all of them.
        device: as for ``kept_generators``.
    """
    with kept_generators(device):
        seed_generators(seed, device)
        yield


def seed_generators(seed: int, device: torch.device | None = None) -> None:
    """Seeds the global generators; arguments as for ``seeded``."""
    # torch.manual_seed would also seed the accelerators, whose state is not kept.
    torch.default_generator.manual_seed(seed)
    for each in _gpus(device):
        with torch.cuda.device(each):
            torch.cuda.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _gpus(device: torch.device | None) -> list[torch.device]:
    return [device] if device is not None and device.type == "cuda" else []


def initial_module(task: LoadedTask, seed: int, replicate: int) -> nn.Module:
    """The model of a replicate before its first step, on the CPU.

    Lazy layers get their shapes from the first training rows. The global generators are left as they were.
    """
    with seeded(derive(seed, "weights", replicate)):
        module = task.build()
        if any(map(is_lazy, chain(module.parameters(), module.buffers()))):
            # In evaluation mode, because batch normalisation would count these rows otherwise.
            with torch.no_grad():
                task.loss(module.eval(), take_rows(task.train, slice(task.batch_size)))
    return module.train()


def batch_indices(task: LoadedTask, seed: int, replicate: int, start: int, stop: int) -> Tensor:
    """The training rows of each batch from batch ``start`` to batch ``stop`` of the training.

    Each epoch is a new permutation of the training rows, cut into full batches. A step takes as many of them
    as ``Recipe.accumulate`` says, across the ends of epochs.

    Returns:
        int64 ``[stop - start, batch_size]``.

    Raises:
        ValueError: the batch is larger than the training data.
    """
    rows = count_rows(task.train)
    batches = batches_per_epoch(rows, task.batch_size)
    pieces = [torch.empty(0, dtype=torch.int64)]
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
