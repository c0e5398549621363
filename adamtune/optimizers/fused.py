"""The elementwise pass in C, called on the tensors' memory; the torch pass gives the same results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adamtune import native

if TYPE_CHECKING:
    from adamtune.optimizers.elementwise import Part

SOURCE = Path(__file__).with_name("_fused.c")
FLAGS = ("-ffp-contract=off", "-fno-math-errno")
SYMBOLS = {torch.float32: "adamtune_update_float", torch.float64: "adamtune_update_double"}


def handles(parameters: Tensor) -> bool:
    """Whether the C pass is there and can take such tensors."""
    return parameters.device.type == "cpu" and parameters.dtype in SYMBOLS and library() is not None


def bind(parts: Sequence[Part], packed: Tensor) -> Callable[[], None]:
    """A function that takes one step, as ``elementwise.bind`` says, for tensors checked there."""
    loaded = library()
    assert loaded is not None
    function = loaded[packed.dtype]
    tensors = [(part.parameters, part.gradient, *part.state) for part in parts]
    counts = (ctypes.c_ssize_t * len(parts))(*(part.parameters.shape[1] for part in parts))
    pointers = [
        (ctypes.c_void_p * len(parts))(*(None if each is None else each.data_ptr() for each in column))
        for column in zip(*tensors, strict=True)
    ]

    def step(kept: object = (tensors, packed)) -> None:  # the memory lives as long as the function
        function(len(parts), len(packed), counts, *pointers, packed.data_ptr())

    return step


@cache
def library() -> dict[torch.dtype, ctypes._NamedFuncPointer] | None:
    """The compiled functions by dtype, or None where the C pass is off or cannot be built."""
    loaded = native.library(SOURCE, FLAGS)
    if loaded is None:
        return None
    functions = {dtype: loaded[symbol] for dtype, symbol in SYMBOLS.items()}
    for function in functions.values():
        function.argtypes = [ctypes.c_ssize_t] * 2 + [ctypes.c_void_p] * 8
        function.restype = None
    return functions
