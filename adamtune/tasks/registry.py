"""The reference tasks by name. Torch-free to import."""

from __future__ import annotations

from collections.abc import Mapping

from adamtune.tasks.base import TaskEntry
from adamtune.tasks.cnn import CNN
from adamtune.tasks.mlp import MLP
from adamtune.tasks.transformer import TRANSFORMER

TASKS: Mapping[str, TaskEntry] = {entry.name: entry for entry in (MLP, CNN, TRANSFORMER)}
