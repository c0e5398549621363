"""The functions of torch that have a batching rule, and the mode under which they use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from adamtune.engines.batching.activation import gelu, relu
from adamtune.engines.batching.attention import attention, unbind
from adamtune.engines.batching.image import convolution, max_pool
from adamtune.engines.batching.linear import embedding, linear
from adamtune.engines.batching.losses import cross_entropy, mse_loss
from adamtune.engines.batching.norm import layer_norm

# Modules and functionals reach one operation by several names, and torch looks each of them up by itself.
RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.linear: linear,
    F.scaled_dot_product_attention: attention,
    torch.layer_norm: layer_norm,
    F.layer_norm: layer_norm,
    F.cross_entropy: cross_entropy,
    F.mse_loss: mse_loss,
    F.embedding: embedding,
    torch.conv2d: convolution,
    torch.max_pool2d: max_pool,
    F.max_pool2d: max_pool,
    torch.unbind: unbind,
    torch.Tensor.unbind: unbind,
    F.relu: relu,
    torch.relu: relu,
    torch.Tensor.relu: relu,
    F.gelu: gelu,
}
"""The batching rule of each function; a rule takes the arguments of the function that it replaces."""


class BatchingRules(TorchFunctionMode):
    """While it is entered, torch functions that have a batching rule use it. For use under ``vmap`` alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The rules call torch's functions themselves: within this method, torch has the mode switched off.
        return RULES.get(func, func)(*args, **(kwargs or {}))
