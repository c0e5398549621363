"""Members to train, engines that train them, and comparisons of their results."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.base import Engine, Evaluation, Member, Source
from adamtune.engines.population.capture import Capture
from adamtune.engines.population.draws import Draws
from adamtune.engines.population.engine import Population
from adamtune.engines.population.gradients import BatchedTask
from adamtune.engines.sequential import Sequential
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.randomness import initial_module

from ..examples import drawn

TOLERANCE = 1e-9
FIELDS = {theirs: ours for each in OPTIMIZERS.values() for theirs, ours in each.state.items()}
"""The population's name of each part of an optimizer's state, by torch's name."""

Curve = list[tuple[int, dict[str, float]]]
"""A member's evaluations: the step and the metrics."""
Make = Callable[[int], Engine]
"""Takes the number of slots and makes an engine."""


def capture_gradients(
    task: LoadedTask, parameters: Mapping[str, Tensor], batch: Any, shared: bool
) -> Capture:
    """A capture of losses and gradients of a task without buffers, frozen weights and random draws."""
    source = Source(task, torch.device("cpu"), next(iter(parameters.values())).dtype)
    members = len(next(iter(parameters.values())))
    draws = Draws(members, source.device)
    return BatchedTask(source).gradients(parameters, {}, batch, shared, draws)


def capture_scores(task: LoadedTask, parameters: Mapping[str, Tensor], rows: Any) -> Capture:
    """A capture of the metrics of such a task."""
    source = Source(task, torch.device("cpu"), next(iter(parameters.values())).dtype)
    return BatchedTask(source).metrics(parameters, {}, rows)


def initial_parameters(task: LoadedTask, seed: int, replicate: int) -> dict[str, Tensor]:
    """A replicate's parameters before the first step."""
    return {name: each.detach() for name, each in initial_module(task, seed, replicate).named_parameters()}


def member(
    task: LoadedTask,
    trial: int = 0,
    optimizer: str = "adam",
    schedule: str = "constant",
    *,
    replicate: int = 0,
    seed: int = 0,
    **changed: float,
) -> Member:
    """A member with the catalog's defaults, except for the hyperparameters in ``changed``."""
    own, of_schedule = OPTIMIZERS[optimizer].defaults, SCHEDULES[schedule].defaults
    assert changed.keys() <= own.keys() | of_schedule.keys()
    return Member(
        trial,
        replicate,
        seed,
        task,
        optimizer,
        {name: changed.get(name, value) for name, value in own.items()},
        schedule,
        {name: changed.get(name, value) for name, value in of_schedule.items()},
    )


def varied_member(task: LoadedTask, trial: int, optimizer: str, schedule: str) -> Member:
    """A member whose hyperparameters follow from its number; odd numbers have replicate 1, even ones 0."""
    draw = random.Random(f"{trial} {optimizer} {schedule}")
    own = drawn(OPTIMIZERS[optimizer], draw)
    return Member(trial, trial % 2, 7, task, optimizer, own, schedule, drawn(SCHEDULES[schedule], draw))


def some(task: LoadedTask, count: int, **same: Any) -> list[Member]:
    """Members of one task with different learning rates, so that no two have the same results."""
    return [member(task, trial, lr=2e-3 * 1.7**trial, **same) for trial in range(count)]


def population(slots: int, threads: int = 1, dtype: torch.dtype = torch.float64) -> Population:
    return Population(slots, threads, dtype=dtype)


def sequential(slots: int, dtype: torch.dtype = torch.float64) -> Sequential:
    return Sequential(slots, dtype=dtype)


def finish(engine: Engine, members: Sequence[Member] = ()) -> dict[Member, list[Evaluation]]:
    """Admits the members and trains until all members have left; the evaluations of each."""
    engine.admit(members)
    found: dict[Member, list[Evaluation]] = {}
    while evaluations := advance(engine, found):
        if all(each.finished or each.diverged_at is not None for each in evaluations):
            break
    return found


def advance(engine: Engine, found: dict[Member, list[Evaluation]]) -> list[Evaluation]:
    """Trains to the next evaluations and adds them to those in ``found``."""
    evaluations = engine.advance()
    for each in evaluations:
        found.setdefault(each.member, []).append(each)
    return evaluations


def curve(evaluations: Sequence[Evaluation]) -> Curve:
    assert all(each.diverged_at is None for each in evaluations)
    return [(each.step, dict(each.metrics)) for each in evaluations]


def alone(each: Member) -> Curve:
    """The evaluations of the member when the sequential engine trains it alone."""
    return curve(finish(sequential(1), [each])[each])


def assert_close(found: Curve, expected: Curve, tolerance: float = TOLERANCE) -> None:
    assert [step for step, _ in found] == [step for step, _ in expected]
    for (step, ours), (_, theirs) in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            difference = abs(ours[name] - theirs[name])
            assert difference <= tolerance * max(1.0, abs(theirs[name])), (step, name, difference)


def assert_all_differ(curves: Sequence[Curve]) -> None:
    """Asserts that no two members have the same loss: else a test could pass with their rows mixed up."""
    last = [each[-1][1]["train_loss"] for each in curves]
    assert len(set(last)) == len(last)


def tensors(engine: Engine, members: Sequence[Member]) -> list[dict[str, Tensor]]:
    """Each member's parameters and optimizer state, by the population's names.

    Args:
        engine: the engine that trains them.
        members: all of its members, in order of admission.
    """
    state = engine.state()
    if isinstance(engine, Population):
        return _rows(state, members)
    return [_named(each, saved) for each, saved in zip(members, state["members"], strict=True)]


def _rows(state: Mapping[str, Any], members: Sequence[Member]) -> list[dict[str, Tensor]]:
    found: list[dict[str, Tensor]] = [{} for _ in members]
    for group in state["groups"]:
        for row, place in enumerate(group["members"]):
            found[place] = {name: tensor[row].clone() for name, tensor in group["tensors"].items()}
    return found


def _named(each: Member, saved: Mapping[str, Any]) -> dict[str, Tensor]:
    names = list(initial_parameters(each.task, 0, 0))
    found = {f"parameter.{name}": saved["model"][name].clone() for name in names}
    states = saved["optimizer"]
    for name, own in zip(names if states else (), _in_order(states), strict=True):
        for theirs, ours in FIELDS.items():
            if own.get(theirs) is not None:
                found[f"{ours}.{name}"] = own[theirs].clone()
    return found


def _in_order(states: Any) -> list[dict[str, Any]]:
    return list(states.values()) if isinstance(states, dict) else list(states)


def copied(state: Any) -> Any:
    """A deep copy of a state."""
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [copied(each) for each in state]
    return state.clone() if isinstance(state, Tensor) else state
