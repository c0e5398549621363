"""Whether an error in a training step or an evaluation is a divergence, and no mistake in the task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf, nan
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from adamtune.engines.metrics import are_finite, plain_metrics
from adamtune.engines.torch_private import DispatchMode, OpOverload, capturable, operator_name, tree_leaves
from adamtune.tasks.base import Rows
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.pytree import map_rows


def has_diverged(error: Exception, module: nn.Module, compute: Callable[[], object]) -> bool:
    """Whether a step raised an error because training has diverged; the loss counts as NaN then.

    It has if weights are not finite, a factorization failed, or a number before the error is not finite.

    Args:
        error: what was raised.
        module: the model.
        compute: computes the loss again, with the same draws, and what was computed of it.
    """
    if isinstance(error, LinAlgError) or not are_finite(module.parameters()):
        return True
    with suppress(Exception), capturable(), _Overflow() as found:  # distributions accept NaN
        compute()
    return bool(found.seen)


def member_metrics(task: LoadedTask, module: nn.Module, rows: Rows, seed: int | None) -> dict[str, float]:
    """``plain_metrics`` of a member in training; NaN if they raise an error because it has diverged."""
    try:
        return plain_metrics(task, module, rows, seed)
    except Exception as error:
        with torch.no_grad():
            if not has_diverged(error, module, lambda: task.loss(module, map_rows(torch.clone, rows))):
                raise
        return {"val_loss": nan}


class _Overflow(DispatchMode):
    """Looks for a NaN, or a number that is too large, in what kernels compute. Masks are often ``-inf``."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # What is in new memory is not a result.
        if not self.seen and "empty" not in operator_name(func):
            self.seen = any(map(_overflows, tree_leaves(result)))
        return result


def _overflows(value: Any) -> bool:
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return False
    found = value.isnan() if value.is_complex() else (value < inf).logical_not()
    return bool(found.any())
