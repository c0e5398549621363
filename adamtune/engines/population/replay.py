"""Compiles a list of kernel calls into a function that makes them with hardly any Python in between.

Consecutive calls become a program, which is one call of C: calling a kernel of torch then takes a third of
the time that it takes from Python, and threads with a replay each do not wait for each other. Python makes
the calls that a program cannot make, and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from adamtune.engines.native.elementwise import elementwise_call
from adamtune.engines.native.loader import has_kernels
from adamtune.engines.native.operators import c_call, is_own_kernel
from adamtune.engines.native.program import CCall, Program
from adamtune.engines.native.torch_calls import CannotEncode, Encoder, TorchCall
from adamtune.engines.torch_private import OpOverload, arguments, operator_name, overloads, tree_leaves

FILLS = {"fill", "masked_fill"}
ACCEPT_TENSORS = FILLS | {"mul", "div", "eq", "ne", "lt", "le", "gt", "ge"}
"""Operators that give the same result for a number and for a tensor ``[]`` in its place."""
EXACT = {torch.bool, torch.int64, torch.int32, torch.float32, torch.float64}
"""The precisions in which operators compute no more precisely with a number than with a tensor ``[]``."""
NUMBERS = {bool: torch.bool, int: torch.int64, float: torch.float64}


class KernelCall(NamedTuple):
    """A call of a kernel with its arguments; each call reads and writes the same tensors.

    Attributes:
        kernel: an overload of an operator, or any function, which Python calls.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """

    kernel: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def compute_and_copy(kernel: OpOverload, results: Sequence[Tensor], args: Any, kwargs: Any) -> None:
    """Calls a kernel that cannot write into given tensors, and copies what it returns into ``results``."""
    found = [each for each in tree_leaves(kernel(*args, **kwargs)) if isinstance(each, Tensor)]
    for result, value in zip(results, found, strict=True):
        result.copy_(value)


def compile_calls(calls: Sequence[KernelCall]) -> Callable[[], None]:
    """A function that makes all the calls in turn.

    Args:
        calls: this package's kernels only in the variant that writes into given tensors.

    Returns:
        The function. Call it under ``torch.no_grad()``.
    """
    encoder = Encoder()
    parts: list[Callable[[], None]] = []
    encoded = [(_encoded(call, encoder), call) for call in calls]
    for in_c, consecutive in groupby(encoded, key=lambda pair: pair[0] is not None):
        if in_c:
            parts.append(Program([made for made, _ in consecutive if made is not None]))
        else:
            parts += [partial(call.kernel, *call.args, **call.kwargs) for _, call in consecutive]
    if len(parts) == 1:
        return parts[0]

    def replay() -> None:
        for part in parts:
            part()

    return replay


def _encoded(call: KernelCall, encoder: Encoder) -> CCall | TorchCall | None:
    """The call as a program makes it; None if Python has to make it."""
    kernel, args, kwargs = call
    targets: Sequence[Tensor] = ()
    if is_own_kernel(kernel):
        # Keyword arguments are the tensors that the kernel writes into.
        return c_call(cast(OpOverload, kernel), args, list(kwargs.values()))
    if kernel is compute_and_copy:
        kernel, targets, args, kwargs = args
    if not isinstance(kernel, OpOverload) or not has_kernels():
        return None
    values = _argument_values(kernel, args, kwargs)
    try:
        return elementwise_call(kernel, values) or encoder.call(*_without_numbers(kernel, values), targets)
    except CannotEncode:
        return None


def _argument_values(kernel: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The values of all arguments of an overload, by name."""
    formal = arguments(kernel)
    defaults = {each.name: each.default_value for each in formal if each.has_default_value()}
    given = dict(zip((each.name for each in formal), args, strict=False)) | kwargs
    return {each.name: given.get(each.name, defaults.get(each.name)) for each in formal}


def _without_numbers(kernel: OpOverload, values: dict[str, Any]) -> tuple[OpOverload, dict[str, Any]]:
    """The same call with a tensor ``[]`` in place of a number, where torch's C interface takes no numbers.

    It takes none of unknown type (``Scalar`` in schemas), nor those that Python accepts in place of a tensor.

    Raises:
        CannotEncode: the result may differ.
    """
    types = {each.name: each.type.kind() for each in arguments(kernel)}
    numbers = [
        name
        for name, value in values.items()
        if isinstance(value, int | float) and types[name] in ("NumberType", "TensorType")
    ]
    if not numbers:
        return kernel, values
    operator, number = operator_name(kernel).removesuffix("_"), values[numbers[0]]
    if operator not in ACCEPT_TENSORS or len(numbers) > 1 or not isinstance(values["self"], Tensor):
        raise CannotEncode(kernel)
    dtype = NUMBERS[type(number)] if operator in FILLS else torch.result_type(values["self"], number)
    if dtype not in EXACT:
        raise CannotEncode(kernel)
    types[numbers[0]] = "TensorType"
    for overload in overloads(kernel):
        if {each.name: each.type.kind() for each in arguments(overload)} == types:
            return overload, values | {numbers[0]: torch.tensor(number, dtype=dtype)}
    raise CannotEncode(kernel)
