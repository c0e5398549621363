"""Programs: calls of this package's kernels and of torch's operators, made by one call of C.

ctypes gives up Python's lock during each call of C, and a thread may wait to get it back: a program does so
once, not for each kernel.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adamtune.engines.native.loader import kernel_function
from adamtune.engines.native.torch_calls import TorchCall, last_error, torch_interface


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

    function: int
    tensors: Sequence[Tensor | None]
    pointers: ctypes.Array[ctypes.c_void_p]
    sizes: ctypes.Array[ctypes.c_ssize_t]
    reals: ctypes.Array[ctypes.c_double]
    error: str


def make_c_call(
    name: str,
    tensors: Sequence[Tensor | None],
    sizes: Sequence[int],
    reals: Sequence[float] = (),
    error: str = "",
) -> CCall:
    """The call of a kernel in C.

    Args:
        name: the kernel's name.
        tensors: its arguments and its results. The call holds their addresses, so their memory may not be
            replaced. The precision of the last one is the kernel's.
        sizes: its whole numbers.
        reals: its real numbers.
        error: the message of the IndexError if it returns 1.
    """
    assert tensors[-1] is not None
    addresses = [None if each is None else each.data_ptr() for each in tensors]
    function = ctypes.cast(kernel_function(tensors[-1].dtype, name), ctypes.c_void_p).value
    assert function is not None
    return CCall(
        function,
        tensors,
        (ctypes.c_void_p * len(addresses))(*addresses),
        (ctypes.c_ssize_t * len(sizes))(*sizes),
        (ctypes.c_double * len(reals))(*reals),
        error,
    )


class _Step(ctypes.Structure):
    """``struct step`` in ``program.h``."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("kernel", "t", "n", "r", "call")]


class Program:
    """Makes the given calls, in order, each time it is called."""

    def __init__(self, calls: Sequence[CCall | TorchCall]) -> None:
        self._calls = calls
        self._steps = (_Step * len(calls))(*map(_step, calls))
        interface = torch_interface()
        self._torch = None if interface is None else interface.functions
        self._run = kernel_function(torch.float32, "run")
        self._run.argtypes = [ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p]
        self._run.restype = ctypes.c_ssize_t

    def __call__(self) -> None:
        """Makes the calls, without Python's lock.

        Raises:
            IndexError: a kernel of this package found an index out of range.
            RuntimeError: an operator of torch failed; the message is torch's. The calls after one that fails
                are not made.
        """
        if failed := self._run(len(self._calls), self._steps, self._torch):
            call = self._calls[failed - 1]
            raise IndexError(call.error) if isinstance(call, CCall) else RuntimeError(last_error())


def _step(call: CCall | TorchCall) -> _Step:
    if isinstance(call, TorchCall):
        return _Step(call=ctypes.addressof(call.call))
    arrays = (ctypes.addressof(each) for each in (call.pointers, call.sizes, call.reals))
    return _Step(call.function, *arrays)
