"""Keys of how trials are trained, from the study file to the code that people paste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adamtune.analysis.ranking import rank
from adamtune.config import StudyConfig, parse_study
from adamtune.engines.base import in_precision
from adamtune.errors import UsageError
from adamtune.reports.as_code import EXACT, render
from adamtune.search.trial import Tasks
from adamtune.storage.studies import read_study
from adamtune.tasks.pytree import map_rows, take_rows
from adamtune.tasks.randomness import batch_indices, initial_module

from .studies import ENGINES, LR, searched, study, trials

KEYS: dict[str, dict[str, Any]] = {
    "usual": {},
    "clip_norm": {"clip_norm": 0.3},
    "no clip_norm": {"clip_norm": "none"},
    "weight_decay_on": {"weight_decay_on": "matrices"},
    "accumulate": {"accumulate": 3},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "float64": {"precision": "float64"},
    "all": {"precision": "float16", "weight_decay_on": "matrices", "accumulate": 2, "clip_norm": 0.3},
}


def file_with(keys: dict[str, Any], folder: Path, engine: str = "sequential", **changed: Any) -> StudyConfig:
    keys = dict(keys)
    space: dict[str, Any] = {"lr": LR, "weight_decay": 0.2, "schedule": "cosine"}
    if "clip_norm" in keys:
        space["clip_norm"] = keys.pop("clip_norm")
    return study(folder, optimizer="adamw", space=space, **ENGINES[engine], **keys, **changed)


def pasted_value(code: str, file: StudyConfig) -> float:
    """``val_loss`` after a training with the pasted code."""
    (task,) = Tasks(file).extremes()
    dtype = torch.float64 if file.precision == "float64" else torch.float32
    train, validation = (
        map_rows(lambda rows: in_precision(rows, dtype), each) for each in (task.train, task.validation)
    )
    model = initial_module(task, file.search.seed, 0).to(dtype)
    names: dict[str, Any] = {"model": model, "compute_loss": task.task.loss}
    exec(code, names)
    indices = batch_indices(task, file.search.seed, 0, 0, task.steps * file.accumulate)
    for batches in indices.split(file.accumulate):
        rows = [take_rows(train, index) for index in batches]
        if "train_step" in names:
            names["train_step"](rows if file.accumulate > 1 else rows[0])
            continue
        names["optimizer"].zero_grad()
        task.task.loss(model, rows[0]).backward()
        names["optimizer"].step()
        names["scheduler"].step()
    with torch.no_grad():
        return float(task.scores(model.eval(), validation)["val_loss"])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_the_pasted_code_gives_the_reported_value(keys: dict[str, Any], engine: str, folder: Path) -> None:
    file = file_with(keys, folder, engine, search={"trials": 2})
    searched(file)
    best = rank(read_study(file.storage, file.name)).best
    assert best is not None
    assert best.settings.get("clip_norm", "none") == keys.get("clip_norm", "none")
    code = render(best.settings, best.steps, EXACT, file.recipe)
    tolerance = 1e-2 if file.recipe.autocast and engine == "population" else 1e-5
    assert pasted_value(code, file) == pytest.approx(best.value, rel=tolerance), code


def test_each_key_changes_the_value(folder: Path) -> None:
    """Else the test above would compare nothing."""
    values = {}
    for name, keys in KEYS.items():
        file = file_with(keys, folder / name.replace(" ", "-"), search={"trials": 1})
        (folder / name.replace(" ", "-")).mkdir()
        searched(file)
        values[name] = trials(file)[0]["value"]
    assert values.pop("no clip_norm") == values["usual"]
    assert len(set(values.values())) == len(values), values


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_clipping_is_searched(sampler: str, folder: Path) -> None:
    space = {"lr": [0.01, 0.02], "clip_norm": ["none", 0.1, 1.0]}
    file = study(folder, space=space, search={"trials": 14, "sampler": sampler}, **ENGINES["population"])
    searched(file)
    found = [each["params"]["clip_norm"] for each in trials(file)]
    assert set(found) == {"none", 0.1, 1.0}


RECURRENT = """
import torch
from torch import nn
from adamtune import Data, Task

class Recurrent(Task):
    def data(self):
        rows = torch.randn(40, 3, 2)
        return Data(train=(rows, rows[:, 0, 0]), validation=(rows, rows[:, 0, 0]))

    def model(self):
        return nn.LSTM(2, 1, batch_first=True)

    def loss(self, model, batch):
        return (model(batch[0])[0][:, -1, 0] - batch[1]).square().mean()
"""


def test_an_operation_without_a_precision_is_told(folder: Path) -> None:
    (folder / "recurrent.py").write_text(RECURRENT)
    text = f"name: s\nstorage: {folder}/s.db\ntask: recurrent.py\nsearch: {{trials: 1}}\nprecision: float16\n"
    file = parse_study(text, "s.yaml", folder=folder)
    with pytest.raises(UsageError, match=r"recurrent.py:15: .*fails with precision: float16 alone"):
        searched(file)
    searched(parse_study(text.replace("float16", "bfloat16"), "s.yaml", folder=folder))
