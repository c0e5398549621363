"""A member whose loss is not finite leaves the engine and does not change the other members."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from adamtune.engines.base import Evaluation, Member, diverged_at
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .models import Toy
from .training import Make, advance, alone, assert_close, curve, finish, member, population, sequential, some

HUGE = {"sgd": 1e200, "adam": 1e300}
"""Learning rates with which a training in float64 diverges."""


def exploding(task: LoadedTask, trial: int, optimizer: str = "sgd") -> Member:
    return member(task, trial, optimizer, lr=HUGE[optimizer])


@pytest.mark.parametrize("optimizer", HUGE)
@pytest.mark.parametrize("name", TASKS)
def test_a_diverging_member_does_not_change_the_others(
    name: str, optimizer: str, tasks: Mapping[str, LoadedTask]
) -> None:
    task = tasks[name]
    calm = some(task, 3)
    wild = exploding(task, 9, optimizer)
    expected = finish(population(4), calm)
    for members in ([wild, *calm], [calm[0], wild, *calm[1:]], [*calm, wild]):
        found = finish(population(4), members)
        assert found[wild][-1].diverged_at is not None
        for each in calm:
            assert_close(curve(found[each]), curve(expected[each]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_diverging_member_does_not_change_the_others_in_float32(optimizer: str, mlp: LoadedTask) -> None:
    calm = some(mlp, 3)
    wild = member(mlp, 9, optimizer, lr=1e30)
    found = finish(population(4, dtype=torch.float32), [calm[0], wild, *calm[1:]])
    expected = finish(population(4, dtype=torch.float32), calm)
    assert found[wild][-1].diverged_at is not None
    for each in calm:
        assert_close(curve(found[each]), curve(expected[each]), tolerance=1e-4)


BEYOND_FLOAT32: list[tuple[str, dict[str, float]]] = [
    (each.name, changed)
    for each in OPTIMIZERS.values()
    for changed in (
        {"lr": 3e38},
        {"lr": 1e39},
        {"lr": 1e300},
        {"weight_decay": 1e39},
        {"weight_decay": 1e300},
        {"lr": 1e30, "weight_decay": 1e30},
        {"lr": 1e300, "weight_decay": 1e300},
        {"final_lr": 1e39},
        {"eps": 1e300},
    )
    if changed.keys() <= each.defaults.keys()
]


@pytest.mark.parametrize(("optimizer", "changed"), BEYOND_FLOAT32)
def test_engines_agree_on_numbers_beyond_float32(
    optimizer: str, changed: dict[str, float], mlp: LoadedTask
) -> None:
    """A rule that computes with such a number diverges; one whose update it makes zero does not."""
    extreme = member(mlp, 0, optimizer, **changed)
    (batched,), (plain,) = (
        finish(make(1, dtype=torch.float32), [extreme]).values() for make in (population, sequential)
    )
    assert (batched[-1].step, batched[-1].diverged_at) == (plain[-1].step, plain[-1].diverged_at)
    assert (batched[-1].diverged_at is None) == ("eps" in changed)


def test_another_error_of_the_optimizer_is_not_divergence(
    mlp: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object) -> None:
        raise RuntimeError("a tensor is on another device")

    monkeypatch.setattr(torch.optim.SGD, "step", failing)
    with pytest.raises(RuntimeError, match="another device"):
        finish(sequential(1), [member(mlp, 0, "sgd", lr=0.1)])


@pytest.mark.parametrize("make", [population, sequential])
def test_an_evaluation_has_the_step_of_the_divergence(make: Make) -> None:
    """With either engine and any number of steps between evaluations."""
    by_step = finish(sequential(1), [exploding(Toy(evaluate_every=1), 0)])
    (last,) = [each[-1] for each in by_step.values()]
    assert last.diverged_at == last.step
    for every in (2, 3, 6):
        evaluations = finish(make(1), [exploding(Toy(evaluate_every=every), 0)])
        (evaluation,) = [each[-1] for each in evaluations.values()]
        # Scores are computed after the update of their step, the loss before it: it is finite a step longer.
        assert evaluation.diverged_at in (last.diverged_at, last.diverged_at + 1)
        assert evaluation.metrics == {}


@pytest.mark.parametrize("make", [population, sequential])
@pytest.mark.parametrize("optimizer", HUGE)
def test_the_slot_of_a_diverged_member_is_free_and_cleared(
    make: Make, optimizer: str, mlp: LoadedTask
) -> None:
    engine = make(2)
    calm = member(mlp, 0, "amsgrad", lr=0.01)
    engine.admit([exploding(mlp, 1, optimizer), calm])
    found: dict[Member, list[Evaluation]] = {}
    evaluations = advance(engine, found)
    assert evaluations[0].diverged_at is not None
    # Weights and state in the slot were not finite; this member uses all of them.
    heir = member(mlp, 2, "rmsprop", lr=0.01, momentum=0.5, centered=True)
    engine.admit([heir])
    with pytest.raises(ValueError, match="0 free slots"):
        engine.admit([member(mlp, 3)])
    while len(found[calm]) < 10 or len(found[heir]) < 10:
        advance(engine, found)
    assert_close(curve(found[calm]), alone(calm))
    assert_close(curve(found[heir]), alone(heir))


@pytest.mark.parametrize("make", [population, sequential])
def test_members_may_all_diverge(make: Make, mlp: LoadedTask) -> None:
    engine = make(3)
    engine.admit([exploding(mlp, trial) for trial in range(3)])
    assert all(each.diverged_at is not None and not each.finished for each in engine.advance())
    each = member(mlp, lr=0.01)
    assert_close(curve(finish(engine, [each])[each]), alone(each))


@pytest.mark.parametrize(
    ("losses", "scores", "start", "expected"),
    [
        ([1.0, 2.0], [3.0], 10, None),
        ([1.0, float("nan"), float("inf")], [3.0], 10, 12),
        ([float("-inf"), 1.0], [float("nan")], 10, 11),
        ([1.0, 2.0], [3.0, float("nan")], 10, 12),
        ([1e200, 2.0], [1e300], 10, None),
    ],
)
def test_the_step_of_a_divergence(
    losses: list[float], scores: list[float], start: int, expected: int | None
) -> None:
    assert diverged_at(losses, scores, start) == expected
    torch.set_default_dtype(torch.float32)
    assert diverged_at(losses, scores, start) == expected
