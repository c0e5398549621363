"""What a user's own module computes at a step, and whether something else is the same but for rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from adamtune.engines.base import Source
from adamtune.engines.eager import eager
from adamtune.engines.metrics import checked_loss, gradients_of
from adamtune.engines.population.capture import CannotCapture
from adamtune.engines.shared_state import shared_state
from adamtune.tasks.base import Rows
from adamtune.tasks.pytree import take_rows
from adamtune.tasks.randomness import batch_indices, derive, seeded

TOLERANCE = 1e-4
"""The largest relative difference that is taken for rounding in float32. Wrong methods differ by far more."""

LARGE = 1_000_000
"""Models with more weights are compared on ``FEW`` rows of a batch: it takes seconds otherwise."""
FEW = 16


class PlainModule:
    """A replicate's own module: what it computes at a step, the plain way."""

    def __init__(self, source: Source, replicate: int) -> None:
        self.source, self.replicate = source, replicate
        self.module = source.module(0, replicate)

    def batch(self, step: int) -> Rows:
        """The batch of the update after ``step`` steps."""
        index = batch_indices(self.source.task, 0, self.replicate, step, step + 1)[0]
        large = sum(each.numel() for each in self.module.parameters()) > LARGE
        return take_rows(self.source.train, index[: FEW if large else None].to(self.source.device))

    def step(self, step: int, batch: Rows) -> tuple[Tensor, dict[str, Tensor | None]]:
        """The loss and each trained parameter's gradient; changes the buffers."""
        trained = {name: each for name, each in self.module.named_parameters() if each.requires_grad}
        with self.as_captured(derive(0, "step", self.replicate, step)):
            loss = checked_loss(self.source.task.loss(self.module, batch))
            return loss.detach(), gradients_of(loss, trained)

    @contextmanager
    def as_captured(self, seed: int) -> Iterator[None]:
        """While it is entered, the module computes a loss as a capture does, with draws of a seed."""
        # As a capture computes it: other kernels for attention and recurrent layers drop out by other draws.
        with (
            torch.backends.cudnn.flags(enabled=False),
            seeded(seed, self.source.device),
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
            eager(),
            shared_state(self.source.task).of(self.source.task, self.module),
        ):
            yield

    def tensors(self, trained: bool) -> dict[str, Tensor]:
        """Copies of the trained parameters, or of all other parameters and buffers."""
        named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {name: each.detach().clone() for name, each in named.items() if each.requires_grad == trained}

    def nudge(self) -> None:
        """Changes every weight a little, differently in each replicate."""
        with torch.no_grad():
            for each in self.module.parameters():
                each.mul_(1.01 + 0.01 * self.replicate)


def stacked(trees: list[Any]) -> Any:
    """Trees of tensors as one tree, each tensor with a dimension for the trees in front."""
    if isinstance(trees[0], dict):
        return {name: stacked([each[name] for each in trees]) for name in trees[0]}
    if isinstance(trees[0], tuple | list):
        parts = [stacked(list(each)) for each in zip(*trees, strict=True)]
        return type(trees[0])(*parts) if hasattr(trees[0], "_fields") else type(trees[0])(parts)
    return torch.stack(trees)


class Different(CannotCapture):
    """The capture computes something else than the model itself."""


def compare(what: str, found: Mapping[str, Tensor], wanted: Mapping[str, Any], tolerance: float) -> None:
    """Raises Different if a tensor differs from the wanted one by more than rounding."""
    scale = max((_norm(each) for each in wanted.values()), default=0.0)
    for name, value in found.items():
        right = wanted[name]
        if value.is_floating_point() or value.is_complex():
            # Gradients that are next to nothing beside the others are nothing but rounding.
            allowed = tolerance * (_norm(right) + 1e-3 * scale) + 1e-12
            difference = _norm(torch.nan_to_num(value) - torch.nan_to_num(right))
            same = difference <= allowed and torch.equal(torch.isfinite(value), torch.isfinite(right))
        else:
            same = torch.equal(value, right)
        if not same:
            raise Different(f"in lockstep {what}{name} is not what torch computes")


def _norm(tensor: Tensor) -> float:
    finite = torch.nan_to_num(tensor.detach(), posinf=0.0, neginf=0.0)
    return float(
        torch.linalg.vector_norm(finite.to(torch.complex128 if finite.is_complex() else torch.float64))
    )
