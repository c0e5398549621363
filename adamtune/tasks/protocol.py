"""What a task is: a model, its data, a loss and the scores to judge it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor, nn

Rows = tuple[Tensor, ...]
"""Tensors that share their first dimension: one row an example."""

Model = Callable[..., Tensor]
"""A model as a function of its input: an ``nn.Module``, or one with its parameters put in."""


class Task(Protocol):
    """Everything an engine needs to train one model; immutable once built.

    ``loss`` and ``scores`` are pure torch functions of their arguments without data-dependent
    control flow, so that an engine may run them under ``torch.func.vmap``.
    """

    @property
    def steps(self) -> int:
        """Optimizer steps of one full training."""

    @property
    def evaluate_every(self) -> int:
        """Optimizer steps between two evaluations; the last evaluation is always at ``steps``."""

    @property
    def batch_size(self) -> int:
        """Rows of every batch."""

    @property
    def train(self) -> Rows:
        """The rows to train on; they may be an overlapping view, so gather from them, never write."""

    @property
    def validation(self) -> Rows:
        """The rows to judge by."""

    @property
    def data_hash(self) -> str:
        """SHA-256 (hex) of the data as it is trained on, splits included."""

    def build(self) -> nn.Module:
        """A new model, its weights drawn from torch's global generator."""

    def loss(self, model: Model, batch: Rows) -> Tensor:
        """The training loss of a batch ``[batch, ...]``: a scalar, to be minimised."""

    def scores(self, model: Model, rows: Rows) -> Mapping[str, Tensor]:
        """The task's metrics over ``rows`` (all but ``train_loss``), each a scalar."""
