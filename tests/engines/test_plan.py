"""The plan of a study: from what is known before training, and the same whenever it is made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adamtune.engines.distributed.side_by_side import SideBySide
from adamtune.engines.plan import MOST, Plan, make_plan
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.population.engine import Population
from adamtune.engines.population.verification import working_set
from adamtune.engines.sequential import Sequential
from adamtune.engines.start import build
from adamtune.errors import UsageError
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS, find_task

from ..user_tasks import write_task
from .models import FEATURES, Calls, Toy
from .training import curve, finish, some


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, float32, no accelerator."""
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def made(task: LoadedTask, trials: int = 256, seeds: int = 1, **settings: Any) -> Plan:
    engine, device = settings.get("engine", "auto"), settings.get("device", "auto")
    population = settings.get("population", "auto")
    return make_plan(task, engine, population, device, seeds).for_trials(trials, seeds, population)


def unbatchable() -> LoadedTask:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.head(x) if x.sum() > 0 else self.head(-x)

    return Toy(lambda: Calls(forward, head=nn.Linear(FEATURES, 1)))


@pytest.mark.parametrize("name", TASKS)
def test_it_is_the_same_whenever_it_is_made(name: str, tasks: Mapping[str, LoadedTask]) -> None:
    first = made(tasks[name])
    torch.manual_seed(1)
    assert made(tasks[name]) == first
    assert Plan(**json.loads(json.dumps(asdict(first)))) == first


@pytest.mark.parametrize("name", TASKS)
def test_reference_tasks_are_trained_in_lockstep(name: str, tasks: Mapping[str, LoadedTask]) -> None:
    found = made(tasks[name])
    assert (found.engine, found.device, found.threads) == ("population", "cpu", 2)
    assert found.slots > 1
    for part in (str(found.slots), "at a time", "2 threads", "CPU"):
        assert part in found.why
    assert "\n" not in found.why


def test_a_larger_model_makes_a_smaller_population() -> None:
    def slots(width: int) -> int:
        return made(TASKS["mlp"].build({"hidden": [width, width]}), 10_000).slots

    assert slots(16) > slots(256) > slots(2048) >= 2


def test_a_population_is_at_most_a_part_of_the_budget(mlp: LoadedTask) -> None:
    sizes = {trials: made(mlp, trials).slots for trials in (1, 8, 64, 256, 100_000)}
    assert list(sizes.values()) == sorted(sizes.values())
    assert all(size <= max(2, trials // 2) for trials, size in sizes.items())
    assert sizes[100_000] <= MOST["cpu"] * 2


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 7, 100])
@pytest.mark.parametrize("trials", [1, 10, 1000])
def test_a_trials_replicates_are_trained_together(trials: int, seeds: int, mlp: LoadedTask) -> None:
    slots = made(mlp, trials, seeds).slots
    assert slots % seeds == 0
    assert slots >= seeds


def test_what_the_study_file_says_is_done(mlp: LoadedTask) -> None:
    found = made(mlp, population=12)
    assert (found.engine, found.slots) == ("population", 12)
    found = made(mlp, population=1, seeds=3)
    assert found.slots >= 3
    found = made(mlp, population=1)
    assert (found.slots, found.threads) == (1, 1)
    found = made(mlp, engine="sequential", seeds=3)
    assert (found.engine, found.slots) == ("sequential", 3)


def test_a_model_that_lockstep_cannot_train_is_trained_sequentially() -> None:
    found = made(unbatchable(), seeds=2)
    assert (found.engine, found.slots) == ("sequential", 2)
    assert "control flow" in found.why
    assert "\n" not in found.why
    with pytest.raises(CannotCapture):
        working_set(unbatchable())


@pytest.fixture
def branching(tmp_path: Path) -> LoadedTask:
    """A task of a file that lockstep cannot train."""
    branch = "inputs, target = batch; bool(inputs.sum() > 0)"
    entry = find_task(str(write_task(tmp_path, ("inputs, target = batch", branch))))
    assert isinstance(entry, TaskEntry)
    return entry.build({})


def test_such_a_model_of_a_file_is_trained_side_by_side(branching: LoadedTask) -> None:
    found = made(branching)
    assert (found.engine, found.slots, found.threads) == ("side_by_side", 2, 2)
    assert found.why.startswith("Training 2 at a time on the CPU (2 processes): ")
    assert "churn.py:30: the control flow" in found.why
    assert Plan(**json.loads(json.dumps(asdict(found)))) == found
    assert made(branching, engine="sequential").engine == "sequential"
    assert made(branching, population=5).slots == 5
    with closing(build(found)) as engine:  # type: ignore[type-var]
        assert isinstance(engine, SideBySide)
        assert engine.slots == 2


@pytest.mark.parametrize(("seeds", "slots"), [(1, 2), (2, 2), (3, 6), (4, 4), (5, 10)])
def test_members_fill_the_processes_evenly(seeds: int, slots: int, branching: LoadedTask) -> None:
    assert made(branching, seeds=seeds).slots == slots


def test_few_trials_have_few_slots_and_one_core_has_no_processes(
    branching: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = made(branching, trials=1)
    assert (few.slots, few.why.partition(":")[0]) == (1, "Training 1 at a time on the CPU")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert made(branching).engine == "sequential"


def test_it_is_an_error_to_ask_for_lockstep_then() -> None:
    with pytest.raises(UsageError, match=r"population cannot train this study: .*control flow.*use auto"):
        made(unbatchable(), engine="population")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_an_error(device: str, mlp: LoadedTask) -> None:
    for engine in ("auto", "population", "sequential"):
        with pytest.raises(UsageError, match=f"device: {device} is not available here; use auto or cpu"):
            made(mlp, device=device, engine=engine)


def test_a_gpu_is_used_where_there_is_one(mlp: LoadedTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    on_gpu, on_cpu = made(mlp, 100_000), made(mlp, 100_000, device="cpu")
    assert (on_gpu.device, on_gpu.threads) == ("cuda", 1)
    assert on_gpu.slots > on_cpu.slots


def test_systems_without_processor_affinity_have_a_plan_too(
    mlp: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS and Windows: ``os.sched_getaffinity`` is Linux's."""
    monkeypatch.delattr(os, "sched_getaffinity")
    assert made(mlp).threads >= 1


def test_more_memory_for_a_larger_batch() -> None:
    def memory(batch_size: int) -> int:
        return working_set(TASKS["mlp"].build({"batch_size": batch_size}))

    assert memory(8) < memory(64) < memory(256)


def test_a_plan_builds_its_engine(mlp: LoadedTask) -> None:
    members = some(mlp, 3)
    found = {}
    for engine, kind in (("population", Population), ("sequential", Sequential)):
        built = build(made(mlp, engine=engine, population=3, seeds=3))
        assert isinstance(built, kind)
        assert built.slots == 3
        found[engine] = finish(built, members)
    for each in members:
        fast, slow = curve(found["population"][each]), curve(found["sequential"][each])
        assert fast[-1][1] == pytest.approx(slow[-1][1], rel=1e-3)


def test_an_optimizer_without_a_rule_is_not_trained_in_lockstep(
    mlp: LoadedTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = replace(OPTIMIZERS["lion"], rule=None)
    monkeypatch.setattr("adamtune.engines.plan.OPTIMIZERS", {**OPTIMIZERS, "lion": without})
    found = make_plan(mlp, "auto", "auto", "cpu", 1, ["adam", "lion"])
    assert found.engine == "side_by_side"
    assert "lion has no rule" in found.why


def deciding(model: Any, inputs: Tensor, target: Tensor) -> Tensor:
    loss: Tensor = (model(inputs).squeeze(-1) - target).square().mean()
    return loss if loss < 1e6 else loss * 0


def selecting(model: Any, inputs: Tensor, target: Tensor) -> Tensor:
    error: Tensor = (model(inputs).squeeze(-1) - target).square()
    return error[target > 0].mean()


@pytest.mark.parametrize("measure", [deciding, selecting])
def test_steps_that_read_values_are_in_lockstep_on_a_cpu_alone(measure: Callable[..., Tensor]) -> None:
    """Also where the GPU is another machine's, so that nobody can try."""
    task = Toy(lambda: Calls(lambda self, x: self.head(x), head=nn.Linear(FEATURES, 1)), measure)
    assert make_plan(task, "auto", "auto", "cpu", 1).engine == "population"
    found = make_plan(task, "auto", "auto", "cuda", 1, is_here=False)
    assert found.engine == "sequential"
    assert "test_plan.py:" in found.why
