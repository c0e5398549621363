"""What models and their files keep in Python: found at planning, and kept with each training by itself."""

from __future__ import annotations

import importlib
import io
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.engines.plan import make_plan
from adamtune.engines.sequential import Sequential
from adamtune.tasks.base import Model

from .models import FEATURES, Toy
from .test_own_models import plain_loop
from .training import member

STEPS = 6

SCHEDULE = """
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

    def load(name: str) -> ModuleType:
        sys.modules.pop("schedule", None)
        (tmp_path / "schedule.py").write_text(SCHEDULE)
        (tmp_path / f"{name}.py").write_text(TASK.format(name=name))
        return importlib.import_module(name)

    yield load
    for name in ("schedule", *PLACES):
        sys.modules.pop(name, None)


def linear() -> nn.Module:
    return nn.Linear(FEATURES, 1)


@pytest.mark.parametrize("name", PLACES)
def test_a_slow_counter_in_another_file_is_found(name: str, measured: Callable[[str], ModuleType]) -> None:
    why = make_plan(Toy(linear, measured(name).measure), "auto", "auto", "cpu", 1).why
    assert f"a step changes the {PLACES[name]}: make it a buffer".replace("\\", "") in why


@pytest.mark.parametrize("name", PLACES)
def test_each_training_has_its_own_counter(name: str, measured: Callable[[str], ModuleType]) -> None:
    task = Toy(linear, measured(name).measure, steps=STEPS, evaluate_every=3)
    trained = [member(task, trial, lr=0.01 * (trial + 1)) for trial in range(3)]
    make_plan(task, "auto", "auto", "cpu", 1)
    engine = Sequential(3, dtype=torch.float64)
    engine.admit(trained)
    engine.advance()
    engine.train(lambda: False)
    found = engine.state()["members"]
    for each, state in zip(trained, found, strict=True):
        # The validation loss after three steps counts, too.
        model = fresh_plain_loop(Toy(linear, measured(name).measure, steps=STEPS), each.hyperparameters["lr"])
        for key, value in model.named_parameters():
            torch.testing.assert_close(state["model"][key], value.detach(), rtol=1e-9, atol=1e-9)


def fresh_plain_loop(task: Toy, lr: float) -> nn.Module:
    raise NotImplementedError
