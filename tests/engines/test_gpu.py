"""Both engines on a GPU: the results of the CPU, and steps that do not wait for the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from adamtune.engines.population.engine import Population
from adamtune.engines.sequential import Sequential
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.recipe import Recipe
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

from .models import Toy
from .test_models import MODELS
from .test_own_models import OWN
from .training import alone, assert_all_differ, assert_close, curve, finish, member, some, varied_member

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


def on_gpu(slots: int, dtype: torch.dtype = torch.float64) -> Population:
    return Population(slots, 1, "cuda", dtype)


@pytest.mark.parametrize("name", TASKS)
def test_every_rule_equals_the_sequential_engine_on_the_cpu(
    name: str, tasks: Mapping[str, LoadedTask]
) -> None:
    schedules = list(SCHEDULES)
    members = [
        varied_member(tasks[name], i, rule, schedules[i % len(schedules)])
        for i, rule in enumerate(OPTIMIZERS)
    ]
    found = finish(on_gpu(len(members)), members)
    assert_all_differ([curve(each) for each in found.values()])
    for each in members:
        assert_close(curve(found[each]), alone(each))


def test_the_sequential_engine_on_the_gpu_equals_that_on_the_cpu(mlp: LoadedTask) -> None:
    each = member(mlp, optimizer="nadam", schedule="cosine")
    assert_close(curve(finish(Sequential(1, "cuda", torch.float64), [each])[each]), alone(each))


@pytest.mark.parametrize("make", [Population, Sequential])
def test_buffers_of_a_model_are_on_the_gpu(make: type) -> None:
    each = member(Toy(MODELS["a fixed projection first"]))
    engine = make(1, device="cuda", dtype=torch.float64)
    assert_close(curve(finish(engine, [each])[each]), alone(each))


@pytest.mark.parametrize("name", [each for each in OWN if each != "a second derivative of an LSTM"])
def test_own_models_train_in_lockstep_as_one_after_the_other(name: str) -> None:
    trained = some(OWN[name], 3)
    found = finish(on_gpu(3), trained)
    # cuDNN has no second derivative of an LSTM, draws other numbers, and rounds a batch norm otherwise.
    with torch.backends.cudnn.flags(enabled=False):
        expected = finish(Sequential(3, "cuda", torch.float64), trained)
    for each in trained:
        assert_close(curve(found[each]), curve(expected[each]))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", TASKS)
def test_a_precision_is_that_of_the_sequential_engine(
    name: str, precision: Any, tasks: Mapping[str, LoadedTask]
) -> None:
    torch.set_default_dtype(torch.float32)
    trained = some(replace(tasks[name], recipe=Recipe(precision=precision)), 3)
    found = finish(on_gpu(3, torch.float32), trained)
    for each, alone_ in finish(Sequential(3, "cuda", torch.float32), trained).items():
        for ours, theirs in zip(curve(found[each]), curve(alone_), strict=True):
            assert ours[0] == theirs[0]
            assert ours[1] == pytest.approx(theirs[1], rel=0.05)


@pytest.fixture
def waits_are_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes waiting for the device an error, but in a step's first run, which captures its CUDA graph."""
    from adamtune.engines.population.step import Step

    real, begun = Step.run, set()

    def run(self: Step, *args: object) -> None:
        if id(self) not in begun:
            begun.add(id(self))
            real(self, *args)
            return
        torch.cuda.set_sync_debug_mode("error")
        try:
            real(self, *args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Step, "run", run)
    yield
    assert begun


@pytest.mark.usefixtures("waits_are_errors")
@pytest.mark.parametrize("replicates", [1, 2])
@pytest.mark.parametrize("name", TASKS)
def test_a_step_does_not_wait_for_the_gpu(
    name: str, replicates: int, tasks: Mapping[str, LoadedTask]
) -> None:
    members = [member(tasks[name], i, rule, replicate=i % replicates) for i, rule in enumerate(OPTIMIZERS)]
    found = finish(on_gpu(len(members), torch.float32), members)
    assert all(len(each) == 10 for each in found.values())


def test_members_come_and_go(mlp: LoadedTask) -> None:
    members = some(mlp, 5)
    engine = on_gpu(4)
    engine.admit(members[:4])
    engine.advance()
    engine.release(members[1:3])
    found = finish(engine, members[4:])
    assert_close(curve(found[members[4]]), alone(members[4])[: len(found[members[4]])])
    assert_close(curve(found[members[0]]), alone(members[0])[1:])


def test_a_restored_engine_continues_to_the_last_bit(mlp: LoadedTask) -> None:
    members = some(mlp, 4)
    engine, restored = on_gpu(4, torch.float32), on_gpu(4, torch.float32)
    engine.admit(members)
    engine.advance()
    restored.restore(members, engine.state())
    expected = finish(engine)
    for each, evaluations in finish(restored).items():
        assert curve(evaluations) == curve(expected[each])


def test_a_diverging_member_does_not_change_the_others(mlp: LoadedTask) -> None:
    calm, wild = some(mlp, 3), member(mlp, 9, "sgd", lr=1e200)
    found = finish(on_gpu(4), [calm[0], wild, *calm[1:]])
    assert found[wild][-1].diverged_at is not None
    for each in calm:
        assert_close(curve(found[each]), alone(each))
