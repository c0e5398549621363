"""The C functions as operators ``adamtune::...``, each with a variant that writes into given tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from adamtune.engines.kernels.library import function

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
        wrong: what is wrong if the C function does not return 0; None if it returns nothing.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        results: Sequence[str],
        shapes: Callable[..., Sequence[Shape]],
        sizes: Callable[..., Sequence[int]],
        wrong: str | None = None,
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
        self.bind(args, results)()
        return results[0] if len(results) == 1 else tuple(results)

    def bind(self, args: Sequence[Any], results: Sequence[Tensor]) -> Callable[[], None]:
        """The call on these tensors, which must stay where they are. It raises IndexError if told to."""
        given = [each for each in args if each is None or isinstance(each, Tensor)]
        tensors = [*given, *results]
        reals = [each for each in args if isinstance(each, float)]
        sizes = self._sizes(*args)
        pointers = (ctypes.c_void_p * len(tensors))(
            *(None if each is None else each.data_ptr() for each in tensors)
        )
        run, wrong = function(results[0].dtype, self.name), self._wrong
        run.restype = None if wrong is None else ctypes.c_int
        packed = (ctypes.c_ssize_t * len(sizes))(*sizes), (ctypes.c_double * len(reals))(*reals)

        def call(kept: object = tensors) -> None:  # the memory lives as long as the function
            if run(pointers, *packed):
                raise IndexError(wrong)

        return call


def is_kernel(kernel: Any) -> bool:
    """Whether a recorded kernel is one of these, writing into given tensors."""
    return isinstance(kernel, OpOverload) and kernel.namespace == "adamtune" and kernel._overloadname == "out"


def bind(kernel: OpOverload, args: Sequence[Any], results: Sequence[Tensor]) -> Callable[[], None]:
    """A recorded call of such a kernel, without torch in between."""
    return _KERNELS[kernel.overloadpacket.__name__].bind(args, results)
