"""The elementwise pass as a fused loop in C, on a CPU where there is a C compiler."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from adamtune.engines import native
from adamtune.engines.native.loader import load_library
from adamtune.engines.population.coefficients import Terms
from adamtune.engines.population.update_state import Part

SOURCE = Path(native.__file__).with_name("update.c")
FLAGS = ("-ffp-contract=off", "-fno-math-errno")
KINDS = {torch.float32: "float", torch.float64: "double"}


def c_handles(parameters: Tensor) -> bool:
    """Whether the C pass is available and takes such tensors."""
    return parameters.device.type == "cpu" and parameters.dtype in KINDS and c_functions() is not None


def bind_c(parts: Sequence[Part], packed: Tensor, needed: Terms, scale: Tensor | None) -> Callable[[], None]:
    """``bind_update`` through C, for tensors that are checked."""
    loaded = c_functions()
    assert loaded is not None
    update, clip = loaded[packed.dtype]
    scale = packed.new_ones(len(packed)) if scale is None else scale
    gain = scale.clone() if needed.clip_norm else scale
    decays = (ctypes.c_int * len(parts))(*(part.decays for part in parts))
    tensors = [(part.parameters, part.gradient, *part.state) for part in parts]
    counts = (ctypes.c_ssize_t * len(parts))(*(part.parameters.shape[1] for part in parts))
    pointers = [
        (ctypes.c_void_p * len(parts))(*(None if each is None else each.data_ptr() for each in column))
        for column in zip(*tensors, strict=True)
    ]

    own = packed.data_ptr(), scale.data_ptr()

    def step(kept: object = (tensors, packed, scale)) -> None:  # the memory lives as long as the function
        if needed.clip_norm:
            clip(len(parts), len(packed), counts, pointers[1], *own, gain.data_ptr())
        update(len(parts), len(packed), counts, decays, *pointers, own[0], gain.data_ptr())

    return step


@cache
def c_functions() -> dict[torch.dtype, tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer]] | None:
    """The update and the clipping in C by dtype, or None where C is turned off or cannot be compiled."""
    loaded = load_library(SOURCE, FLAGS)
    if loaded is None:
        return None
    functions = {
        dtype: (loaded[f"adamtune_update_{kind}"], loaded[f"adamtune_clip_{kind}"])
        for dtype, kind in KINDS.items()
    }
    for update, clip in functions.values():
        for function, pointers in ((update, 10), (clip, 5)):
            function.argtypes = [ctypes.c_ssize_t] * 2 + [ctypes.c_void_p] * pointers
            function.restype = None
    return functions
