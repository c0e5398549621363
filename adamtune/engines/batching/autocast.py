"""``torch.autocast`` under ``vmap``, which does not look at it: the precision of a function's arguments.

The functions are those that the documentation of ``torch.amp`` lists for a CPU. Float64 is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.torch_private import tree_map_only

LOW: set[Callable[..., Any]] = {
    F.linear,
    F.bilinear,
    F.scaled_dot_product_attention,
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    torch.conv_transpose1d,
    torch.conv_transpose2d,
    torch.conv_transpose3d,
    *(
        getattr(torch, name)
        for name in ("addbmm", "addmm", "addmv", "baddbmm", "bmm", "einsum", "matmul", "mm", "mv")
    ),
    *(getattr(torch.Tensor, name) for name in ("addbmm", "addmm", "baddbmm", "bmm", "matmul", "mm", "mv")),
    torch.Tensor.__matmul__,
    torch.Tensor.__rmatmul__,
}
"""Functions that compute in the low precision."""

HIGH: set[Callable[..., Any]] = {
    *(
        getattr(F, f"{name}_loss")
        for name in (
            "mse",
            "l1",
            "smooth_l1",
            "huber",
            "nll",
            "poisson_nll",
            "hinge_embedding",
            "soft_margin",
        )
    ),
    *(getattr(F, name) for name in ("cross_entropy", "kl_div", "binary_cross_entropy")),
    F.binary_cross_entropy_with_logits,
    torch.prod,
    torch.Tensor.prod,
    torch.cdist,
}
"""Functions that compute in float32."""


def autocast_arguments(function: Callable[..., Any], device: str, arguments: Any) -> Any:
    """The arguments of a function as autocast would hand them to it, where it is enabled.

    Args:
        function: a function of torch.
        device: the type of the device: "cpu", say.
        arguments: a tree with tensors.
    """
    if not torch.is_autocast_enabled(device) or function not in LOW | HIGH:
        return arguments
    dtype = torch.get_autocast_dtype(device) if function in LOW else torch.float32

    def cast(tensor: Tensor) -> Tensor:
        eligible = tensor.is_floating_point() and tensor.dtype != torch.float64
        return tensor.to(dtype) if eligible else tensor

    return tree_map_only(Tensor, cast, arguments)
