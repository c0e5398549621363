"""The kernel of elementwise arithmetic, in place of torch's operators that do the same.

The results are equal to the last bit. Torch's C interface has no numbers of unknown type (``Scalar`` in
schemas), and every addition has one. The kernel also takes less time than an operator's call alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamtune.engines.native.loader import handles
from adamtune.engines.native.program import CCall, make_c_call
from adamtune.engines.native.torch_calls import is_plain
from adamtune.engines.torch_private import OpOverload, arguments, operator_name, storage_id

ADD, SUBTRACT, MULTIPLY, DIVIDE, CUBE, THRESHOLD, AT_LEAST, AT_MOST = range(8)
"""The operations, numbered as in ``elementwise.h``."""
ARITHMETIC = {"add": ADD, "sub": SUBTRACT, "mul": MULTIPLY, "div": DIVIDE}
DIMENSIONS = 8
"""The most dimensions that the kernel takes."""


class _Operation(NamedTuple):
    """An operation and its operands; ``limit`` is the one of THRESHOLD."""

    number: int
    x: Tensor | float
    y: Tensor | float
    limit: float = 0.0


def elementwise_call(kernel: OpOverload, values: Mapping[str, Any]) -> CCall | None:
    """The call of the kernel that does what a call of torch's operator does; None where there is none.

    Args:
        kernel: an overload that writes into its arguments.
        values: the values of all its arguments, by name.
    """
    written = [values[each.name] for each in arguments(kernel) if each.is_write]
    found = _operation(kernel, values)
    if found is None or len(written) != 1 or not handles(written[0]):
        return None
    out = written[0]
    x, y = (
        each if isinstance(each, Tensor) else torch.tensor(each, dtype=out.dtype)
        for each in (found.x, found.y)
    )
    if not handles(x, y, out) or not all(map(is_plain, (x, y, out))) or _overlap(out, x) or _overlap(out, y):
        return None
    wide = torch.broadcast_tensors(x, y)
    if wide[0].shape != out.shape:
        return None
    dims = _dimensions(out, *wide)
    if len(dims) > DIMENSIONS:
        return None
    sizes = [found.number, len(dims), *(size for dim in dims for size in dim)]
    return make_c_call("elementwise", [x, y, out], sizes, [found.limit])


def _operation(kernel: OpOverload, values: Mapping[str, Any]) -> _Operation | None:
    """What an operator computes; None if it is not one of the kernel's operations."""
    if kernel.namespace != "aten" or values.get("alpha", 1) != 1 or "rounding_mode" in values:
        return None
    match operator_name(kernel).removesuffix("_"), values:
        case (("add" | "sub" | "mul" | "div") as name, {"self": x, "other": y}):
            return _Operation(ARITHMETIC[name], x, y)
        case ("rsub", {"self": x, "other": y}):
            return _Operation(SUBTRACT, y, x)
        case ("pow", {"self": Tensor() as x, "exponent": int() | float() as power}) if power in (1, 2, 3):
            return _Operation(CUBE if power == 3 else MULTIPLY, x, 1.0 if power == 1 else x)
        case ("threshold_backward", {"grad_output": x, "self": y, "threshold": int() | float() as limit}):
            return _Operation(THRESHOLD, x, y, limit)
        case ("clamp_min", {"self": x, "min": int() | float() as bound}):
            return _Operation(AT_LEAST, x, bound)
        case ("clamp_max", {"self": x, "max": int() | float() as bound}):
            return _Operation(AT_MOST, x, bound)
    return None


def _overlap(out: Tensor, operand: Tensor) -> bool:
    """Whether an operand may lie in the same memory as the result, and not element by element."""
    layouts = [(each.data_ptr(), each.shape, each.stride()) for each in (out, operand)]
    return storage_id(out) == storage_id(operand) and layouts[0] != layouts[1]


def _dimensions(out: Tensor, x: Tensor, y: Tensor) -> list[tuple[int, ...]]:
    """The fewest dimensions of three tensors of one shape: each one's size, and its three strides."""
    if not out.numel():
        return [(0, 0, 0, 0)]
    given = zip(out.shape, out.stride(), x.stride(), y.stride(), strict=True)
    dims: list[tuple[int, ...]] = []
    for size, *strides in sorted((each for each in given if each[0] != 1), key=lambda each: -each[1]):
        joins = dims and list(dims[-1][1:]) == [size * each for each in strides]
        dims.append((dims.pop()[0] * size if joins else size, *strides))
    return dims or [(1, 0, 0, 0)]
