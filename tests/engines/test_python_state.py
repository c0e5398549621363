"""What models and their files keep in Python: found at planning, and kept with each training by itself."""

from __future__ import annotations

import importlib
import inspect
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adamtune.engines.base import Member
from adamtune.engines.plan import make_plan
from adamtune.engines.python_state import LARGE, MOST, Root, changed, snapshot, snapshots, unchanged
from adamtune.engines.sequential import Sequential
from adamtune.engines.shared_state import shared_state
from adamtune.engines.stored_values import made, stored
from adamtune.storage.local.checkpoints import load, save
from adamtune.tasks.randomness import initial_module

from .models import FEATURES, Toy
from .test_own_models import plain_loop
from .training import finish, member

STEPS = 6

SCHEDULE = """
from collections import OrderedDict

import itertools

STEP = 0
STATE = {"calls": [0]}


class Settings:
    calls = 0


def of_global():
    global STEP
    STEP += 1
    return STEP > 3


def of_container():
    STATE["calls"][0] += 1
    return STATE["calls"][0] > 3


def of_class():
    Settings.calls += 1
    return Settings.calls > 3


def of_function():
    of_function.calls += 1
    return of_function.calls > 3


of_function.calls = 0


def of_default(calls=[0]):
    calls[0] += 1
    return calls[0] > 3


def closure():
    calls = 0

    def count():
        nonlocal calls
        calls += 1
        return calls > 3

    return count


of_closure = closure()
"""
PLACES = {
    "of_global": r"global schedule\.STEP",
    "of_container": r"global schedule\.STATE\['calls'\]\[0\]",
    "of_class": r"global schedule\.Settings\.calls",
    "of_function": r"global schedule\.of_function\.calls",
    "of_default": r"global schedule\.of_default\.__defaults__\[0\]\[0\]",
    "of_closure": r"global schedule\.of_closure\.calls",
}
TASK = """
import schedule


def measure(model, inputs, target):
    loss = (model(inputs).squeeze(-1) - target).square().mean()
    return loss * 10 if schedule.{name}() else loss
"""


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file whose loss counts its calls in a place in another file."""
    monkeypatch.syspath_prepend(tmp_path)

    def imported(name: str) -> ModuleType:
        for each in ("schedule", name):
            sys.modules.pop(each, None)
        (tmp_path / "schedule.py").write_text(SCHEDULE)
        (tmp_path / f"{name}.py").write_text(TASK.format(name=name))
        return importlib.import_module(name)

    yield imported
    for name in ("schedule", *PLACES):
        sys.modules.pop(name, None)


def linear() -> nn.Module:
    return nn.Linear(FEATURES, 1)


# Only the names: the engines look for counters in all that functions of this file hold, marks included.
@pytest.mark.parametrize("name", [*PLACES])
def test_a_slow_counter_in_another_file_is_found(name: str, measured: Callable[[str], ModuleType]) -> None:
    why = make_plan(Toy(linear, measured(name).measure), "auto", "auto", "cpu", 1).why
    assert f"a step changes the {PLACES[name]}: make it a buffer".replace("\\", "") in why


def test_a_large_table_beside_a_counter_is_not_copied(measured: Callable[[str], ModuleType]) -> None:
    file = measured("of_global")
    schedule = sys.modules["schedule"]
    table, few = [0.0] * 20_000, [0.0] * 20
    schedule.TABLE, schedule.FEW = table, few  # type: ignore[attr-defined]
    task = Toy(linear, file.measure)
    finish(Sequential(2), [member(task, trial) for trial in range(2)])  # type: ignore[arg-type]
    kept = shared_state(task).values(initial_module(task, 0, 0))  # type: ignore[arg-type]
    assert {"global schedule.STEP", "global schedule.FEW"} <= kept.keys()
    assert "global schedule.TABLE" not in kept


@pytest.mark.parametrize("name", [*PLACES])
def test_each_training_has_its_own_counter(name: str, measured: Callable[[str], ModuleType]) -> None:
    task = Toy(linear, measured(name).measure, steps=STEPS, evaluate_every=STEPS)
    trained = [member(task, trial, "adamw", lr=0.01 * (trial + 1)) for trial in range(3)]
    make_plan(task, "auto", "auto", "cpu", 1)  # takes steps of its own
    engine = Sequential(3, dtype=torch.float64)
    engine.admit(trained)
    engine.train(iter([False] * 4 + [True] * 10).__next__)
    engine = resumed(engine, trained)
    engine.train(lambda: False)
    for each, state in zip(trained, engine.state()["members"], strict=True):
        fresh = Toy(linear, measured(name).measure, steps=STEPS)
        model = plain_loop(replace(each, task=fresh))  # type: ignore[arg-type]
        for key, value in model.named_parameters():
            torch.testing.assert_close(state["model"][key], value.detach(), rtol=1e-9, atol=1e-9)


def resumed(engine: Sequential, trained: list[Member]) -> Sequential:
    """An engine that continues from the state of another one, as a checkpoint keeps it."""
    with TemporaryDirectory() as folder:
        save(Path(folder, "state"), engine.state())
        state = load(Path(folder, "state"))
    made = Sequential(len(trained), dtype=torch.float64)
    made.restore(trained, state)
    return made


class Keeps(nn.Module):
    """Changes a value of its own in each step; its result depends on it."""

    def __init__(self, value: Any, change: Callable[[Any, Tensor], float]) -> None:
        super().__init__()
        self.layer, self.value, self.change = linear(), value, change

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1 + self.change(self, x))


def counted(self: Keeps, x: Tensor) -> float:
    self.value["calls"] += 1
    return self.value["calls"]


def appended(self: Keeps, x: Tensor) -> float:
    self.value.append(float(x.detach().mean()))
    return sum(self.value)


def queued(self: Keeps, x: Tensor) -> Tensor:
    self.value.append(x.mean())
    return torch.stack(list(self.value)).mean()


def remembered(self: Keeps, x: Tensor) -> Tensor:
    self.value = x.mean() if self.value is None else 0.5 * (self.value + x.mean())
    return self.value


def noted(self: Keeps, x: Tensor) -> float:
    self.value.calls += 1
    self.value.parts = (self.value.calls, 1j)
    return self.value.calls


def hidden(self: Keeps, x: Tensor) -> Tensor:
    with torch.no_grad():
        self.value[0].weight.mul_(0.9)
    return self.value[0](x).mean()


def drawn(self: Keeps, x: Tensor) -> float:
    draw = getattr(self.value, "random", None) or self.value.rand
    return float(draw())


def drawn_by_torch(self: Keeps, x: Tensor) -> Tensor:
    return torch.rand((), generator=self.value)


def changed_array(self: Keeps, x: Tensor) -> float:
    self.value += 1
    return float(self.value.sum())


def advanced(self: Keeps, x: Tensor) -> float:
    return next(self.value)


def generated() -> Iterator[float]:
    value = 1.0
    while True:
        value *= 0.9
        yield value


def nonlocal_counter() -> Callable[[], int]:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return calls

    return count


KEPT: dict[str, Callable[[], tuple[Any, Callable[[Any, Tensor], Any]]]] = {
    "a dictionary": lambda: ({"calls": 0}, counted),
    "a list that grows": lambda: ([], appended),
    "a deque of tensors": lambda: (deque(maxlen=3), queued),
    "a tensor": lambda: (None, remembered),
    "an object": lambda: (Settings(), noted),
    "a module that is no part of the model": lambda: ([linear()], hidden),
    "a generator of torch": lambda: (torch.Generator().manual_seed(1), drawn_by_torch),
    "a generator of NumPy": lambda: (np.random.default_rng(1), drawn),
    "an older generator of NumPy": lambda: (np.random.RandomState(1), drawn),
    "a generator of Python": lambda: (random.Random(1), drawn),
    "an array": lambda: (np.ones(2), changed_array),
    "an iterator": lambda: (itertools.count(), advanced),
    "a Python generator": lambda: (generated(), advanced),
    "a function with a counter": lambda: (nonlocal_counter(), lambda self, x: self.value()),
}


class Settings:
    """Counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.owner = [self]


def kept_task(name: str) -> Toy:
    return Toy(lambda: Keeps(*KEPT[name]()), steps=STEPS, evaluate_every=2)


@pytest.mark.parametrize("name", [*KEPT])
def test_a_resumed_training_continues_to_the_last_bit(name: str) -> None:
    trained = [member(kept_task(name), trial, lr=0.01 * (trial + 1)) for trial in range(2)]
    engine, other = Sequential(2, dtype=torch.float64), Sequential(2, dtype=torch.float64)
    for each in (engine, other):
        each.admit(trained)
    other.advance()
    other = resumed(other, trained)
    other = resumed(other, trained)  # before its first step
    other.train(iter([False, False, True, True]).__next__)
    other = resumed(other, trained)
    engine.advance()
    for _ in range(2):
        found, expected = other.advance(), engine.advance()
        assert [each.metrics for each in found] == [each.metrics for each in expected]
        assert [each.step for each in found] == [each.step for each in expected]


@pytest.mark.parametrize("name", [*KEPT])
def test_models_that_keep_values_are_not_trained_in_lockstep(name: str) -> None:
    plan = make_plan(kept_task(name), "auto", "auto", "cpu", 1)
    assert plan.engine == "sequential"
    assert "attribute value" in plan.why


def test_the_training_itself_is_what_the_model_keeps() -> None:
    """Its values matter: without them, the resumed training would be another one."""
    trained = [member(kept_task("a dictionary"))]
    engine = Sequential(1, dtype=torch.float64)
    engine.admit(trained)
    engine.advance()
    state = engine.state()
    assert state["members"][0]["attributes"]["value"] == ["dict", ["calls"], [3]]


class Node:
    """An object that many others hold."""

    def __init__(self, held: Any) -> None:
        self.held, self.again = held, held


def test_what_many_objects_hold_is_stored_once() -> None:
    shared = [1, 2]
    value: Any = shared
    for _ in range(6):
        value = Node(value)
    tree = stored(value)
    assert str(tree).count("[1, 2]") == 1
    shared[:] = [3, 4]
    made(tree, value)
    assert shared == [1, 2]
    for _ in range(5_000):  # deeper than it is looked into, and than Python recurses
        value = Node(value)
    assert stored(value)[0] == "object"


def test_so_many_values_are_taken_for_data() -> None:
    data, counter = [[0.5] for _ in range(MOST)], [1]
    assert stored([counter, data], LARGE) == ["list", [["list", [1]], ["left", "list"]]]
    owner = Node(None)
    owner.held, owner.again = counter, data
    before = snapshots({"held": Root(owner, "held"), "again": Root(owner, "again")}, ())
    assert len(before) == 1 + MOST
    counter[0] += 1
    assert changed(before, snapshots({"held": Root(owner, "held")}, ()))[0] == "held[0]"


def test_large_arrays_are_not_read(tmp_path: Path) -> None:
    """As those that are mapped from a file, which may be larger than the memory."""
    array = np.memmap(tmp_path / "rows", dtype=np.uint8, mode="w+", shape=(2**36,))
    assert unchanged(snapshot(array), snapshot(array))
    assert stored(array, LARGE)[0] == "left"


class Annealed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = linear(), 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(inputs) * self.calls


def test_a_counter_of_a_model_is_named_with_its_line() -> None:
    lines, first = inspect.getsourcelines(Annealed)
    line = first + next(place for place, each in enumerate(lines) if "+= 1" in each)
    why = make_plan(Toy(lambda: nn.Sequential(Annealed())), "auto", "auto", "cpu", 1).why
    assert f"a step changes the attribute 0.calls ({__file__}:{line}): make it a buffer" in why
