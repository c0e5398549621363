"""A tiny task around any model, for models that the reference tasks do not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamtune.recipe import USUAL, Recipe
from adamtune.tasks.base import Model, Rows

FEATURES = 6


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, 1))


def squared_error(model: Model, inputs: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(model(inputs).squeeze(-1), target)


@dataclass(frozen=True, eq=False)
class Toy:
    """Regression of noise: rows are ``(inputs [rows, FEATURES], target [rows])``."""

    make: Callable[[], nn.Module] = network
    measure: Callable[[Model, Tensor, Tensor], Tensor] = squared_error
    steps: int = 6
    evaluate_every: int = 2
    batch_size: int = 4
    data_hash: str = "noise"
    recipe: Recipe = USUAL
    holdouts: Mapping[str, slice] = field(default_factory=dict)
    loss_steps: int = 0
    origin: None = None

    @property
    def train(self) -> Rows:
        return noise(1, 12)

    @property
    def validation(self) -> Rows:
        return noise(2, 5)

    def build(self) -> nn.Module:
        return self.make()

    def loss(self, model: Model, batch: Rows) -> Tensor:
        return self.measure(model, *batch)

    def scores(self, model: Model, rows: Rows) -> Mapping[str, Tensor]:
        return {"val_loss": self.measure(model, *rows)}


def noise(seed: int, rows: int) -> Rows:
    drawn = torch.randn(rows, FEATURES + 1, generator=torch.Generator().manual_seed(seed))
    return drawn[:, :-1], drawn[:, -1]


class Calls(nn.Module):
    """A model whose forward is a function of itself and its input; keywords become attributes."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(self, inputs)
