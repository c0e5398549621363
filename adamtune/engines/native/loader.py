"""C sources compiled once per machine, into the cache (``adamtune.files.cached``).

The environment variable ``ADAMTUNE_COMPILER`` names the C compiler (``cc`` unless told); ``none`` turns
everything written in C off. Whoever uses it has a way to do without.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from adamtune.files import cached

LOG = logging.getLogger(__name__)


def load_library(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """The functions of a C source; None, and a line in the log, where they cannot be had."""
    compiler = os.environ.get("ADAMTUNE_COMPILER", "cc")
    if compiler == "none":
        return None
    try:
        return ctypes.CDLL(str(compile_library(compiler, source, flags)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        LOG.warning(
            "%s cannot be compiled by %s ($ADAMTUNE_COMPILER), torch operations do its work slower: %s",
            source.name,
            compiler,
            reason,
        )
        return None


def compile_library(compiler: str, source: Path, flags: Sequence[str]) -> Path:
    """The shared library for this source, its headers, compiler and processor; compiled if not there yet.

    Raises:
        OSError: there is no such compiler, or the cache folder cannot be written.
        subprocess.SubprocessError: the compiler failed, or took longer than a minute.
    """
    flags = ("-O3", "-march=native", "-shared", "-fPIC", *flags)
    version = _run(compiler, "--version")
    headers = (each.read_text() for each in sorted(source.parent.glob("*.h")))
    key = "\0".join((source.read_text(), *headers, *flags, version, _processor()))
    return cached(
        f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so",
        lambda path: _compile(compiler, source, flags, path),
    )


def _compile(compiler: str, source: Path, flags: Sequence[str], path: Path) -> None:
    _run(compiler, *flags, str(source), "-o", str(path), "-lm")


def _run(*command: str) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace", timeout=60
    ).stdout


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return f"{platform.machine()} {platform.processor()}"
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


KERNELS = Path(__file__).with_name("kernels.c")
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
    return device == "cpu" and dtype in PRECISIONS and kernel_library(dtype) is not None


@cache
def kernel_library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """None where there is no C compiler."""
    return load_library(KERNELS, (*FLAGS, *PRECISIONS[dtype]))


def kernel_function(dtype: torch.dtype, name: str) -> ctypes._NamedFuncPointer:
    """A C function; ``handles`` has said that it is there. One that is for any type lies in each library."""
    loaded = kernel_library(dtype if dtype in PRECISIONS else torch.float32)
    assert loaded is not None
    return loaded[name]
