"""Batching rules of activations: a layer and the activation after it become one kernel call.

When an activation is called, the layer before it has already been computed. A layer with a kernel therefore
leaves on its result how to compute it again with an activation. The activation then calls that, and the
capture leaves out the first computation, whose result nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.native.kernels import ACTIVATIONS
from adamtune.engines.torch_private import change_counts

NONE, RELU, GELU = (ACTIVATIONS[name] for name in ("none", "relu", "gelu"))


class Layer(NamedTuple):
    """The layer that computed a tensor.

    Attributes:
        compute: takes an activation's number and returns the layer's result with that activation.
        inputs: the tensors that the layer reads.
        changes: how often the result and the inputs had been changed in place when it was computed.
        differentiable: whether autograd was enabled when it was computed.
    """

    compute: Callable[[int], Tensor]
    inputs: tuple[Tensor, ...]
    changes: tuple[int, ...]
    differentiable: bool


def layer_result(compute: Callable[[int], Tensor], *inputs: Tensor) -> Tensor:
    """A layer's result without activation, from which an activation after it finds the layer.

    Args:
        compute: takes an activation's number and returns the layer's result with that activation.
        inputs: the tensors that the layer reads.
    """
    result: Any = compute(NONE)
    result.adamtune_layer = Layer(compute, inputs, change_counts(result, *inputs), torch.is_grad_enabled())
    return result  # type: ignore[no-any-return]


def needed_backward(activation: int, y: Tensor, x: Tensor) -> Tensor | None:
    """What the backward pass of an activation needs: the result ``y`` of ReLU, the argument ``x`` of GELU."""
    return {NONE: None, RELU: y, GELU: x}[activation]


def _with_layer(input: Tensor, activation: int) -> Tensor | None:
    """The activation computed with the layer that computed ``input``; None if that is not possible."""
    layer: Layer | None = getattr(input, "adamtune_layer", None)
    # Changed in place since, the tensors would give another result.
    if layer is None or layer.changes != change_counts(input, *layer.inputs):
        return None
    # A layer computed under no_grad has no gradient; computed again here, it would have one.
    if torch.is_grad_enabled() and not layer.differentiable:
        return None
    return layer.compute(activation)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``, of the shape of ``input``."""
    found = None if inplace else _with_layer(input, RELU)
    return F.relu(input, inplace) if found is None else found


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """``x`` times the standard normal distribution function of ``x`` (Hendrycks and Gimpel, 2016)."""
    found = _with_layer(input, GELU) if approximate == "none" else None
    return F.gelu(input, approximate=approximate) if found is None else found
