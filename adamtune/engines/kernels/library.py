"""The C functions of ``_kernels.c`` by precision, compiled when one is first wanted."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from adamtune import native

SOURCE = Path(__file__).with_name("_kernels.c")
OPTIMIZATION = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic")
"""As fast as with -O3, and compiled in half the time."""
FLAGS = (*OPTIMIZATION, "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math")
PRECISIONS: dict[torch.dtype, tuple[str, ...]] = {torch.float32: (), torch.float64: ("-DDOUBLE",)}
"""The flags that the source is compiled with for each."""


def handles(*tensors: Tensor | None) -> bool:
    """Whether there are kernels for such tensors, all of one precision; None stands for one left out."""
    kinds = {(each.device.type, each.dtype) for each in tensors if each is not None}
    if len(kinds) != 1:
        return False
    device, dtype = kinds.pop()
    return device == "cpu" and dtype in PRECISIONS and library(dtype) is not None


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """None where there is no C compiler."""
    return native.library(SOURCE, (*FLAGS, *PRECISIONS[dtype]))


def function(dtype: torch.dtype, name: str) -> ctypes._NamedFuncPointer:
    """A C function; ``handles`` has said that it is there. One that is for any type lies in each library."""
    loaded = library(dtype if dtype in PRECISIONS else torch.float32)
    assert loaded is not None
    return loaded[name]
