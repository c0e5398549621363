"""The way of a learning rate through the code is the one that docs/architecture.md lists."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import adamtune
from adamtune.config import load_study
from adamtune.engines.population.update_in_c import c_functions
from adamtune.search.run import run

ROOT = Path(__file__).parents[1]
LR = 0.012345
STUDY = f"""
name: way
task: {{name: mlp, hidden: [4], epochs: 1}}
optimizer: sgd
space: {{lr: [{LR}, 0.02]}}
search: {{trials: 2, sampler: grid}}
storage: way.db
"""


def hops() -> list[str]:
    """Each hop as ``path: qualified name``, from the page."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.search(r"^## The way of a learning rate$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section
    return re.findall(r"^\d+\. `([\w/.]+: [\w.<>]+)`", section[1], re.MULTILINE)


def holds(value: object, depth: int = 7) -> bool:
    """Whether the learning rate is somewhere in a value."""
    if isinstance(value, str):
        return str(LR) in value
    if isinstance(value, float):
        return value == LR
    if isinstance(value, torch.Tensor):
        # In float32, and with a gradient of its own where a rule does nothing else to it.
        return value.is_floating_point() and bool(
            torch.isclose(value.double(), torch.tensor(LR).double()).any()
        )
    return depth > 0 and any(holds(each, depth - 1) for each in parts(value))


def parts(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif hasattr(value, "__dict__") and type(value).__module__.startswith(("adamtune", "optuna", "pydantic")):
        yield from vars(value).values()


@pytest.mark.skipif(c_functions() is None, reason="needs a C compiler")
def test_a_learning_rate_takes_the_way_that_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted, seen = hops(), []
    assert 5 <= len(wanted) <= 10
    package = str(Path(adamtune.__file__).parent) + "/"

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "return" and code.co_filename.startswith(package):
            hop = f"{code.co_filename.removeprefix(package)}: {code.co_qualname}"
            if hop in wanted and hop not in seen and holds([dict(frame.f_locals), argument]):
                seen.append(hop)

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        Path("way.yaml").write_text(STUDY)
        run(load_study(Path("way.yaml")), lambda progress: None)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert seen == wanted
