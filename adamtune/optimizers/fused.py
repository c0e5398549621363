"""The elementwise pass in C: compiled once per machine, called on the tensors' memory.

The library lies in the cache (``adamtune.cache``). The environment variable
``ADAMTUNE_COMPILER`` names the C compiler (``cc`` unless told); ``none`` turns the C pass off. Where
it cannot be built, the log says why and the torch pass is used: the results are the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from adamtune.cache import cached

if TYPE_CHECKING:
    from adamtune.optimizers.elementwise import Part

LOG = logging.getLogger(__name__)
SOURCE = Path(__file__).with_name("_fused.c")
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
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
    compiler = os.environ.get("ADAMTUNE_COMPILER", "cc")
    if compiler == "none":
        return None
    try:
        loaded = ctypes.CDLL(str(build(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        LOG.warning("no C pass for the optimizer step, torch operations do it slower: %s", reason)
        return None
    functions = {dtype: loaded[symbol] for dtype, symbol in SYMBOLS.items()}
    for function in functions.values():
        function.argtypes = [ctypes.c_ssize_t] * 2 + [ctypes.c_void_p] * 8
        function.restype = None
    return functions


def build(compiler: str) -> Path:
    """The shared library for this source, compiler and processor; compiled if it is not there yet.

    Raises:
        OSError: there is no such compiler, or the cache folder cannot be written.
        subprocess.SubprocessError: the compiler failed, or took longer than a minute.
    """
    version = _run(compiler, "--version")
    key = "\0".join((SOURCE.read_text(), *FLAGS, version, _processor()))
    return cached(
        f"fused-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so",
        lambda path: _compile(compiler, path),
    )


def _compile(compiler: str, path: Path) -> None:
    _run(compiler, *FLAGS, str(SOURCE), "-o", str(path), "-lm")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
