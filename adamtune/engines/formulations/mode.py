"""Which functions have a formulation, and while which mode they use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from adamtune.engines.formulations.activation import gelu, relu
from adamtune.engines.formulations.attention import attention
from adamtune.engines.formulations.convolution import convolution
from adamtune.engines.formulations.cross_entropy import cross_entropy
from adamtune.engines.formulations.embedding import embedding
from adamtune.engines.formulations.layer_norm import layer_norm
from adamtune.engines.formulations.linear import linear
from adamtune.engines.formulations.max_pool import max_pool
from adamtune.engines.formulations.mse_loss import mse_loss
from adamtune.engines.formulations.unbind import unbind

FORMULATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
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


class Formulations(TorchFunctionMode):
    """While it is entered, torch functions that have a formulation use it. For use under ``vmap`` alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return FORMULATIONS.get(func, func)(*args, **(kwargs or {}))
