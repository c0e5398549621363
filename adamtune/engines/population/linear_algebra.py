"""Factorizations of matrices that fail: torch raises an error, a capture gives the member NaN, a divergence.

An error in a replay would end the training of all members, and without one a member would go on with numbers
that mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.torch_private import REFUSES_NAN, OpOverload

aten = torch.ops.aten
Call = Callable[..., Any]
"""Takes a kernel and its arguments, calls it, and records the call."""


def refuses_nan(kernel: OpOverload) -> bool:
    """Whether the kernel raises an error for a matrix with NaN."""
    return kernel.overloadpacket in REFUSES_NAN


def call_without_nan(call: Call, kernel: OpOverload, matrices: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Calls a kernel on ``matrices [..., rows, columns]``; the results of those with NaN are NaN."""
    sums = call(aten.sum.dim_IntList, call(aten.mul.Scalar, matrices, 0), [-2, -1])
    found = call(kernel, call(aten.nan_to_num.default, matrices, 0.0, 0.0, 0.0), *args, **kwargs)
    mark(call, call(aten.ne.Tensor, sums, sums), found)
    return found


def mark(call: Call, failed: Tensor, results: Iterable[Tensor]) -> None:
    """Writes NaN into the results ``[..., *shape]`` of the matrices that have failed, bool ``[...]``."""
    for result in results:
        if result.numel() and (result.is_floating_point() or result.is_complex()):
            ones = [1] * (result.dim() - failed.dim())
            call(aten.masked_fill_.Scalar, result, failed.view(*failed.shape, *ones), torch.nan)
