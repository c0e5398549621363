"""Small real tasks, and float64 throughout: torch keeps parts of NAdam's state in the default dtype."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch

from adamtune.engines import shared_state
from adamtune.engines.native.loader import kernel_library
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import TASKS

SETTINGS: dict[str, dict[str, Any]] = {
    "mlp": {"dataset": "friedman1", "samples": 150, "hidden": [8], "batch_size": 4, "epochs": 2},
    "cnn": {"channels": [2, 3], "hidden": 4, "batch_size": 47, "epochs": 2},
    "transformer": {"d_model": 8, "layers": 1, "context": 8, "batch_size": 4, "steps": 60},
}
"""Each task at a size that a test can afford: 48 to 60 steps, ten evaluations or so."""


@pytest.fixture(autouse=True)
def _forget_shared_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tasks of another test have changed is not looked after: their classes are the same."""
    monkeypatch.setattr(shared_state, "_STATES", WeakKeyDictionary())


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def tasks() -> Mapping[str, LoadedTask]:
    """Every task of the catalog, small."""
    return {name: entry.build(SETTINGS[name]) for name, entry in TASKS.items()}


@pytest.fixture(scope="session")
def mlp(tasks: Mapping[str, LoadedTask]) -> LoadedTask:
    return tasks["mlp"]


@pytest.fixture(
    params=[
        pytest.param(
            True,
            marks=pytest.mark.skipif(kernel_library(torch.float64) is None, reason="no kernels in C here"),
        ),
        False,
    ],
    ids=["kernels", "torch"],
)
def with_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The test runs twice: with the kernels in C and without."""
    if not request.param:
        monkeypatch.setattr("adamtune.engines.native.loader.kernel_library", lambda dtype: None)
    return bool(request.param)
