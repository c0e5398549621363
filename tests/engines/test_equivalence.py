"""The population engine has the metrics, parameters and optimizer state of the sequential engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .training import (
    TOLERANCE,
    advance,
    assert_all_differ,
    assert_close,
    curve,
    initial_parameters,
    population,
    sequential,
    tensors,
    varied_member,
)

STRETCHES = 9
"""Evaluations, of ten: the engines still have the members' state afterwards."""


def covering(task: LoadedTask, shift: int) -> list[Member]:
    """Members with every rule twice and every schedule at least once, in pairs that differ by ``shift``."""
    rules, schedules = list(OPTIMIZERS), list(SCHEDULES)
    count = max(2 * len(rules), len(schedules))
    return [
        varied_member(task, i, rules[i % len(rules)], schedules[(3 * i + shift) % len(schedules)])
        for i in range(count)
    ]


def product(task: LoadedTask) -> list[Member]:
    pairs = [(rule, schedule) for rule in OPTIMIZERS for schedule in SCHEDULES]
    return [varied_member(task, i, *pair) for i, pair in enumerate(pairs)]


def assert_equivalent(members: Sequence[Member], threads: int = 1) -> None:
    fast, slow = population(len(members), threads), sequential(len(members))
    ours, theirs = trained(fast, members), trained(slow, members)
    for each in members:
        assert ours[each][-1].step == STRETCHES * each.task.evaluate_every
        assert_close(curve(ours[each]), curve(theirs[each]))
    assert_all_differ([curve(ours[each]) for each in members])
    for each, mine, reference in zip(members, tensors(fast, members), tensors(slow, members), strict=True):
        assert_same_change(each, mine, reference)


def trained(engine: Engine, members: Sequence[Member]) -> dict[Member, list[Evaluation]]:
    engine.admit(members)
    found: dict[Member, list[Evaluation]] = {}
    for _ in range(STRETCHES):
        advance(engine, found)
    return found


def assert_same_change(each: Member, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compares changes since the start: errors of small changes would not show beside large weights."""
    start = initial_parameters(each.task, each.seed, each.replicate)
    assert {f"parameter.{name}" for name in start} <= expected.keys() <= found.keys()
    for key, value in expected.items():
        field, name = key.split(".", 1)
        before = start[name].double() if field == "parameter" else torch.zeros_like(value)
        change = value - before
        assert change.abs().max() > 0, (each.optimizer, key)
        difference = determined(name, found[key] - before - change)
        error, size = difference.abs().max(), change.abs().max()
        # A change of many hundreds is rounded that much more coarsely than one below 1.
        bound = min(TOLERANCE * max(1.0, size), 1e-7 * size)
        assert error < bound, (each.trial, each.optimizer, key, error / size)


def determined(name: str, tensor: Tensor) -> Tensor:
    """The entries whose gradient is not rounding alone, which rules that divide by its size would magnify.

    The bias of the keys adds the same number to all scores of a query, which does not change the softmax.
    """
    if not name.endswith("qkv.bias"):
        return tensor
    query, _, value = tensor.chunk(3)
    return torch.cat([query, value])


def test_the_data_of_the_tasks_vary(tasks: Mapping[str, LoadedTask]) -> None:
    for task in tasks.values():
        for rows in (*task.train, *task.validation):
            assert rows[:50].double().std() > 0


def test_covering_has_every_rule_and_schedule(tasks: Mapping[str, LoadedTask]) -> None:
    for shift, task in enumerate(tasks.values()):
        members = covering(task, shift)
        assert {each.optimizer for each in members} == set(OPTIMIZERS)
        assert {each.schedule for each in members} == set(SCHEDULES)


@pytest.mark.parametrize("name", TASKS)
def test_every_rule_and_schedule_equals_the_sequential_engine(
    name: str, tasks: Mapping[str, LoadedTask]
) -> None:
    assert_equivalent(covering(tasks[name], list(TASKS).index(name)))


def test_members_of_one_replicate_with_shared_batches_equal_the_sequential_engine(mlp: LoadedTask) -> None:
    shared = [each for each in covering(mlp, 5) if each.replicate == 0]
    assert len(shared) > 4
    assert_equivalent(shared)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_pair_of_rule_and_schedule_equals_the_sequential_engine(
    name: str, tasks: Mapping[str, LoadedTask]
) -> None:
    assert_equivalent(product(tasks[name]), threads=2)


def test_state_is_compared_for_every_rule(mlp: LoadedTask) -> None:
    members = [varied_member(mlp, i, rule, "constant") for i, rule in enumerate(OPTIMIZERS)]
    engine = sequential(len(members))
    trained(engine, members)
    kept = {
        each.optimizer: {key.split(".")[0] for key in found} - {"parameter"}
        for each, found in zip(members, tensors(engine, members), strict=True)
    }
    assert all(kept[rule] for rule in OPTIMIZERS if rule != "sgd"), kept
