"""Activations in the same pass as the layer before them.

When an activation is called, its layer has been computed already. A layer that has a kernel therefore
leaves a way to compute it again with an activation; what it computed first is then unused, and a tape
leaves out what nobody uses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor

from adamtune.engines.native.kernels import ACTIVATIONS

NONE, RELU, GELU = (ACTIVATIONS[name] for name in ("none", "relu", "gelu"))


class Layer(NamedTuple):
    """How a tensor was computed.

    Attributes:
        again: the same with an activation afterwards.
        seen: the tensors that it depends on, the result among them, and
        versions: their counts of changes in place, then.
        differentiable: whether gradients were asked for, then.
    """

    again: Callable[[int], Tensor]
    seen: tuple[Tensor, ...]
    versions: tuple[int, ...]
    differentiable: bool


def computed(function: Callable[[int], Tensor], *inputs: Tensor) -> Tensor:
    """The function's result without an activation, which may follow."""
    result: Any = function(NONE)
    result.adamtune_layer = Layer(function, inputs, _versions((result, *inputs)), torch.is_grad_enabled())
    found: Tensor = result
    return found


def _versions(tensors: tuple[Tensor, ...]) -> tuple[int, ...]:
    # What vmap hands out does not count its changes; the tensor of all members in it does.
    return tuple(_inner(each)._version for each in tensors)


def _inner(tensor: Tensor) -> Tensor:
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return tensor


def kept(activation: int, y: Tensor, before: Tensor) -> Tensor | None:
    """What a layer's backward pass needs of its result ``y``, or of what its activation was given."""
    return {NONE: None, RELU: y, GELU: before}[activation]


def _activated(input: Tensor, activation: int) -> Tensor | None:
    layer: Layer | None = getattr(input, "adamtune_layer", None)
    if layer is None or layer.versions != _versions((input, *layer.seen)):
        return None
    if torch.is_grad_enabled() and not layer.differentiable:
        return None
    return layer.again(activation)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``."""
    found = None if inplace else _activated(input, RELU)
    return F.relu(input, inplace) if found is None else found


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """``x`` times the part of a normal distribution below it (Hendrycks and Gimpel, 2016)."""
    found = _activated(input, GELU) if approximate == "none" else None
    return F.gelu(input, approximate=approximate) if found is None else found
