"""Makes operators ``torch.ops.adamtune.*`` of C functions, so that a capture records them like torch's own.

Each operator has a variant ``out`` that writes into given tensors, as replays need.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamtune.engines.native.loader import kernel_function
from adamtune.engines.torch_private import OpOverload, operator_name, overload_name

Shape = Sequence[int]
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
        results = [args[0].new_empty(shape) for shape in self._shapes(*args)]
        call_in_turn([self.c_call(args, results)])()
        return results[0] if len(results) == 1 else tuple(results)

    def c_call(self, args: Sequence[Any], results: Sequence[Tensor]) -> CCall:
        """The call of the C function with these arguments, writing into ``results``.

        The call holds the tensors' addresses, so their memory may not be replaced.
        """
        tensors = [*(each for each in args if each is None or isinstance(each, Tensor)), *results]
        addresses = [None if each is None else each.data_ptr() for each in tensors]
        reals = [each for each in args if isinstance(each, float)]
        sizes = self._sizes(*args)
        return CCall(
            ctypes.cast(kernel_function(results[0].dtype, self.name), ctypes.c_void_p),
            tensors,
            (ctypes.c_void_p * len(addresses))(*addresses),
            (ctypes.c_ssize_t * len(sizes))(*sizes),
            (ctypes.c_double * len(reals))(*reals),
            self._error,
        )


class CCall(NamedTuple):
    """A call of a C function: the function, its arguments, and the message if it returns 1.

    Attributes:
        function: the address of the function.
        tensors: the tensors that ``pointers`` point to; they live as long as the call.
        pointers: the argument ``t``, the memory of each tensor.
        sizes: the argument ``n``, whole numbers.
        reals: the argument ``r``, real numbers.
        error: the message.
    """

    function: ctypes.c_void_p
    tensors: list[Tensor | None]
    pointers: ctypes.Array[ctypes.c_void_p]
    sizes: ctypes.Array[ctypes.c_ssize_t]
    reals: ctypes.Array[ctypes.c_double]
    error: str


def call_in_turn(calls: Sequence[CCall]) -> Callable[[], None]:
    """A function that makes all the calls as a single call of C.

    ctypes gives up Python's lock during each call of C, and a thread may wait to get it back: here it does so
    once, not for each kernel.

    Returns:
        The function. It raises IndexError if a C function finds an index out of range; the calls after it are
        not made then.
    """
    run = kernel_function(torch.float32, "run")
    run.argtypes = [ctypes.c_ssize_t] + [ctypes.c_void_p] * 4
    run.restype = ctypes.c_int
    addresses: list[list[int | None]] = [
        [each.function.value for each in calls],
        [ctypes.addressof(each.pointers) for each in calls],
        [ctypes.addressof(each.sizes) for each in calls],
        [ctypes.addressof(each.reals) for each in calls],
    ]
    arrays = [(ctypes.c_void_p * len(calls))(*column) for column in addresses]

    # The default keeps the calls alive, and with them the memory that the arrays point to.
    def call(kept: object = calls) -> None:
        if failed := run(len(calls), *arrays):
            raise IndexError(calls[failed - 1].error)

    return call


def is_own_kernel(kernel: Any) -> bool:
    """Whether a recorded kernel is one of this package's, in the variant that writes into given tensors."""
    return (
        isinstance(kernel, OpOverload) and kernel.namespace == "adamtune" and overload_name(kernel) == "out"
    )


def c_call(kernel: OpOverload, args: Sequence[Any], results: Sequence[Tensor]) -> CCall:
    """The call of the C function behind a recorded call of such a kernel, without torch in between."""
    return _KERNELS[operator_name(kernel)].c_call(args, results)
