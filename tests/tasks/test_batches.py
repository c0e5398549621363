"""Batches and starting weights follow from (seed, replicate, step) and from nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adamtune.tasks.base import batches_per_epoch
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.randomness import batch_indices, derive, initial_module
from adamtune.tasks.registry import TASKS

BATCHES = 4  # of 8 rows in an epoch of 50 samples' 32 training rows


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return TASKS["mlp"].build({"dataset": "friedman1", "samples": 50, "hidden": [3], "batch_size": 8})


@given(cuts=st.lists(st.integers(1, 20), max_size=4))
def test_any_start_gives_the_rows_of_a_full_pass(task: LoadedTask, cuts: list[int]) -> None:
    bounds = sorted({0, 21, *cuts})
    pieces = [batch_indices(task, 7, 0, a, b) for a, b in pairwise(bounds)]
    full = batch_indices(task, 7, 0, 0, 21)
    assert full.shape == (21, 8)
    assert full.dtype == torch.int64
    assert torch.equal(torch.cat(pieces), full)


def test_an_epoch_is_a_permutation_and_each_is_another(task: LoadedTask) -> None:
    epochs = batch_indices(task, 7, 0, 0, 3 * BATCHES).view(3, -1)
    assert torch.equal(epochs.sort().values, torch.arange(32).expand(3, 32))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3


def test_left_over_rows_are_not_repeated_in_an_epoch() -> None:
    task = TASKS["mlp"].build({"dataset": "friedman1", "samples": 50, "hidden": [3], "batch_size": 15})
    first, second = batch_indices(task, 0, 0, 0, 4).view(2, -1)
    assert len(first.unique()) == len(second.unique()) == 30


def test_seeds_and_replicates_see_other_batches(task: LoadedTask) -> None:
    orders = {
        tuple(batch_indices(task, *key, 0, BATCHES).flatten().tolist()) for key in ((0, 0), (0, 1), (1, 0))
    }
    assert len(orders) == 3


def test_batches_do_not_touch_the_global_generator(task: LoadedTask) -> None:
    before = torch.get_rng_state()
    batch_indices(task, 99, 0, 0, 9)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_large_a_batch() -> None:
    with pytest.raises(ValueError, match="batch_size 9 is more than the 8 training rows: use at most 8"):
        batches_per_epoch(8, 9)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_initial_module(name: str) -> None:
    task = TASKS[name].build({})
    before = torch.get_rng_state()
    first = initial_module(task, 3, 1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = initial_module(task, 3, 1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert {key: value.shape for key, value in first.items()} == {
        key: value.shape for key, value in task.build().named_parameters()
    }
    assert not any(value.requires_grad for value in first.values())
    for key in ((3, 0), (4, 1)):
        assert not any(
            torch.equal(value, initial_module(task, *key).state_dict()[name])
            for name, value in first.items()
            if value.unique().numel() > 1
        )


def test_derived_seeds() -> None:
    """The first is: printf '[0, "weights", 0]' | sha256sum | head -c 8."""
    assert derive(0, "weights", 0) == 0x509D3328
    assert len({derive(1, 2), derive(2, 1), derive("1", 2), derive(12), derive("12")}) == 5
    assert all(0 <= derive(i) < 2**32 for i in range(100))
