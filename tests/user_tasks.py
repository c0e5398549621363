"""The file of a user's task, and versions of it with changes."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''\
"""A task as a user writes it."""

import torch
import torch.nn.functional as F
from torch import nn

from adamtune import Data, Task

import helper


class Churn(Task):
    """Which customers leave."""

    directions = {"accuracy": "maximize"}

    hidden: int = 4
    shift: float = 0.5
    batch_size: int = 16
    epochs: int = 2

    def data(self) -> Data:
        inputs = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
        return Data.split(inputs, (inputs.sum(1) > 0).long(), validation=0.25, test=0.25)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, self.hidden), nn.ReLU(), nn.Linear(self.hidden, helper.CLASSES))

    def loss(self, model, batch):
        inputs, target = batch
        return F.cross_entropy(model(inputs + self.shift), target)

    def metrics(self, model, batch):
        inputs, target = batch
        return {"accuracy": (model(inputs).argmax(-1) == target).float().mean()}
'''
HELPER = '"""What the task imports."""\n\nCLASSES = 2  # left or not\n'


def write_task(folder: Path, *changes: tuple[str, str], name: str = "churn.py") -> Path:
    """Writes the task and its helper into a folder.

    Args:
        folder: the folder.
        changes: texts of the file and what replaces them.
        name: the file of the task.
    """
    source = SOURCE
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    (folder / name).write_text(source)
    (folder / "helper.py").write_text(HELPER)
    return folder / name


def line_of(text: str, path: Path) -> str:
    """``FILE:LINE`` of the first line of a file that has the text."""
    lines = path.read_text().splitlines()
    return f"{path}:{next(number for number, line in enumerate(lines, 1) if text in line)}"
