"""Layers that all models of a task have in common, such as a trained network that its file loads once.

Each training would go on with the weights that another one has left there, so each gets a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from adamtune.errors import UsageError
from adamtune.tasks.randomness import kept_generators

_COMMON: WeakKeyDictionary[object, list[Tensor]] = WeakKeyDictionary()
"""The tensors that all models of a task have in common: nobody trains them."""


def own_model(task: object, build: Callable[[], Any]) -> Any:
    """A model that has no tensor in common with other models of the task.

    Args:
        task: the task.
        build: returns a model, which may have; its first call for a task is followed by a second one.

    Raises:
        UsageError: a model has such a tensor, and cannot be copied.
    """
    module = build()
    if not isinstance(module, nn.Module):
        return module  # the check of the task says so
    if task not in _COMMON:
        with kept_generators():
            second = {id(each): each for each in _tensors(build())}
        _COMMON[task] = [each for each in _tensors(module) if id(each) in second]
    common = {id(each) for each in _COMMON[task]}
    if not common or not any(id(each) in common for each in _tensors(module)):
        return module
    try:
        return deepcopy(module)
    except Exception as error:  # of many kinds
        raise UsageError(
            "model() returns the same layers at each call, which cannot be copied for each training"
            f" ({error}): make new ones in model()"
        ) from error


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
