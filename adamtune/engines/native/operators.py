"""The C functions as operators ``adamtune::...``, each with a variant that writes into given tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from adamtune.engines.native.loader import kernel_function

Shape = Sequence[int]
_LIBRARY = torch.library.Library("adamtune", "DEF")
_KERNELS: dict[str, Kernel] = {}


class Kernel:
    """An operator that a C function computes.

    Args:
        name: the C function's.
        arguments: in the language of torch's schemas; tensors first.
        results: their names.
        shapes: takes the arguments and returns the results' shapes.
        sizes: takes the arguments and returns the whole numbers that the C function wants.
        wrong: what is wrong if the C function does not return 0.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        results: Sequence[str],
        shapes: Callable[..., Sequence[Shape]],
        sizes: Callable[..., Sequence[int]],
        wrong: str = "",
    ) -> None:
        self.name, self._shapes, self._sizes, self._wrong = name, shapes, sizes, wrong
        aliases = [f"Tensor({chr(ord('a') + place)}!)" for place in range(len(results))]
        outs = ", ".join(f"{alias} {result}" for alias, result in zip(aliases, results, strict=True))
        _LIBRARY.define(f"{name}({arguments}) -> ({', '.join(['Tensor'] * len(results))})")
        _LIBRARY.define(f"{name}.out({arguments}, *, {outs}) -> ({', '.join(aliases)})")
        _LIBRARY.impl(name, self._compute, "CPU")
        _KERNELS[name] = self
        packet = getattr(torch.ops.adamtune, name)
        self.call: Callable[..., Any] = packet.default

    def _compute(self, *args: Any) -> Any:
        first = args[0]
        results = [first.new_empty(shape) for shape in self._shapes(*args)]
        chain([self.bind(args, results)])()
        return results[0] if len(results) == 1 else tuple(results)

    def bind(self, args: Sequence[Any], results: Sequence[Tensor]) -> Prepared:
        """The call on these tensors, which must stay where they are."""
        given = [each for each in args if each is None or isinstance(each, Tensor)]
        tensors = [*given, *results]
        reals = [each for each in args if isinstance(each, float)]
        sizes = self._sizes(*args)
        return Prepared(
            ctypes.cast(kernel_function(results[0].dtype, self.name), ctypes.c_void_p),
            tensors,
            (ctypes.c_void_p * len(tensors))(
                *(None if each is None else each.data_ptr() for each in tensors)
            ),
            (ctypes.c_ssize_t * len(sizes))(*sizes),
            (ctypes.c_double * len(reals))(*reals),
            self._wrong,
        )


class Prepared(NamedTuple):
    """A call of a C function: what it is given, and what is wrong if it does not return 0."""

    function: ctypes.c_void_p
    tensors: list[Tensor | None]
    pointers: ctypes.Array[ctypes.c_void_p]
    sizes: ctypes.Array[ctypes.c_ssize_t]
    reals: ctypes.Array[ctypes.c_double]
    wrong: str


def chain(calls: Sequence[Prepared]) -> Callable[[], None]:
    """One call of C for all of them, in turn: threads wait for the interpreter once, not for each.

    It raises IndexError if told to.
    """
    run = kernel_function(torch.float32, "run")
    run.argtypes = [ctypes.c_ssize_t] + [ctypes.c_void_p] * 4
    run.restype = ctypes.c_int
    columns = zip(*(each[:1] + each[2:5] for each in calls), strict=True)
    functions, *given = (list(column) for column in columns)
    addresses = [[each.value for each in functions]]
    addresses += [[ctypes.addressof(each) for each in column] for column in given]
    arrays = [(ctypes.c_void_p * len(calls))(*column) for column in addresses]

    def call(kept: object = calls) -> None:  # the memory lives as long as the function
        if failed := run(len(calls), *arrays):
            raise IndexError(calls[failed - 1].wrong)

    return call


def is_kernel(kernel: Any) -> bool:
    """Whether a recorded kernel is one of these, writing into given tensors."""
    return isinstance(kernel, OpOverload) and kernel.namespace == "adamtune" and kernel._overloadname == "out"


def bind(kernel: OpOverload, args: Sequence[Any], results: Sequence[Tensor]) -> Prepared:
    """A recorded call of such a kernel, without torch in between."""
    return _KERNELS[kernel.overloadpacket.__name__].bind(args, results)
