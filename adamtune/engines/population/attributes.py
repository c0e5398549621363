"""Plain values among the attributes of modules, such as counters: a capture does not change them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
from torch import Tensor, nn


def changed_attribute(module: nn.Module, step: Callable[[], object]) -> str | None:
    """The dotted name of the first attribute that a step changes; None if it changes none.

    Args:
        module: the model.
        step: a training step of it.
    """
    before = deepcopy(dict(_attributes(module)))
    step()
    changed = (
        name for name, value in _attributes(module) if name not in before or not _equal(before[name], value)
    )
    return next(changed, None)


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yields the plain values among the attributes of each module, by dotted name."""
    for prefix, each in module.named_modules():
        for name, value in vars(each).items():
            if isinstance(value, bool | int | float | str | Tensor | np.ndarray) and name != "training":
                yield f"{prefix}.{name}".lstrip("."), value


def _equal(before: Any, now: Any) -> bool:
    if isinstance(now, Tensor | np.ndarray):
        return bool(np.array_equal(np.asarray(before), np.asarray(now)))
    return bool(before == now) and type(before) is type(now)
