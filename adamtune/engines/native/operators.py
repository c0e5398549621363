"""Makes operators ``torch.ops.adamtune.*`` of C functions, so that a capture records them like torch's own.

Each operator has a variant ``out`` that writes into given tensors, as replays need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from adamtune.engines.native.program import CCall, Program, make_c_call
from adamtune.engines.torch_private import OpOverload, operator_name, overload_name

Shape = Sequence[int]


class ImageShape(tuple[int, ...]):
    """The shape ``[members, batch, channels, ...]`` of a result whose channels are last in memory."""


_LIBRARY = torch.library.Library("adamtune", "DEF")
_KERNELS: dict[str, Kernel] = {}


class Kernel:
    """An operator that a C function computes.

    Args:
        name: the name of the C function, and of the operator.
        arguments: the operator's arguments in torch's schema language; tensors first.
        results: the names of the tensors that it returns.
        shapes: takes the arguments and returns each result's shape.
        sizes: takes the arguments and returns the C function's whole numbers ``n``.
        error: the message of the IndexError if the C function returns 1.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        results: Sequence[str],
        shapes: Callable[..., Sequence[Shape]],
        sizes: Callable[..., Sequence[int]],
        error: str = "",
    ) -> None:
        self.name, self._shapes, self._sizes, self._error = name, shapes, sizes, error
        # The letters tell torch that each returned tensor is the argument with the same letter.
        aliases = [f"Tensor({chr(ord('a') + place)}!)" for place in range(len(results))]
        outs = ", ".join(f"{alias} {result}" for alias, result in zip(aliases, results, strict=True))
        _LIBRARY.define(f"{name}({arguments}) -> ({', '.join(['Tensor'] * len(results))})")
        _LIBRARY.define(f"{name}.out({arguments}, *, {outs}) -> ({', '.join(aliases)})")
        _LIBRARY.impl(name, self._compute, "CPU")
        _KERNELS[name] = self
        self.call: Callable[..., Any] = getattr(torch.ops.adamtune, name).default

    def _compute(self, *args: Any) -> Any:
        """What torch calls while a capture is recorded: one tensor, or a tuple of them."""
        results = [_empty(args[0], shape) for shape in self._shapes(*args)]
        Program([self.c_call(args, results)])()
        return results[0] if len(results) == 1 else tuple(results)

    def c_call(self, args: Sequence[Any], results: Sequence[Tensor]) -> CCall:
        """The call of the C function with these arguments, writing into ``results``."""
        tensors = [*(each for each in args if each is None or isinstance(each, Tensor)), *results]
        reals = [each for each in args if isinstance(each, float)]
        return make_c_call(self.name, tensors, self._sizes(*args), reals, self._error)


def _empty(like: Tensor, shape: Shape) -> Tensor:
    """Memory for a result: no view of another tensor, because changing one in place costs copies of it."""
    if not isinstance(shape, ImageShape):
        return like.new_empty(shape)
    in_memory = (*shape[:2], *shape[3:], shape[2])
    strides = [prod(in_memory[place + 1 :]) for place in range(len(in_memory))]
    strides.insert(2, strides.pop())
    return like.new_empty_strided(shape, strides)


def is_own_kernel(kernel: Any) -> bool:
    """Whether a recorded kernel is one of this package's, in the variant that writes into given tensors."""
    return (
        isinstance(kernel, OpOverload) and kernel.namespace == "adamtune" and overload_name(kernel) == "out"
    )


def c_call(kernel: OpOverload, args: Sequence[Any], results: Sequence[Tensor]) -> CCall:
    """The call of the C function behind a recorded call of such a kernel, without torch in between."""
    return _KERNELS[operator_name(kernel)].c_call(args, results)
