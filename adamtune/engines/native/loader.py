"""Compiles the C sources once per machine, into the cache (``adamtune.files.use_cached``), and loads them.

The environment variable ``ADAMTUNE_COMPILER`` names the C compiler (default ``cc``); ``none`` turns
everything written in C off. Every caller has torch operations that do the same.
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

from adamtune.files import use_cached

LOG = logging.getLogger(__name__)


class CompilerError(Exception):
    """The C compiler is missing or failed."""


def load_library(source: Path, flags: Sequence[str]) -> ctypes.CDLL | None:
    """The functions of a C source; None, and a warning that says why, where they cannot be had."""
    compiler = os.environ.get("ADAMTUNE_COMPILER", "cc")
    if compiler == "none":
        return None
    try:
        return _load(compiler, source, flags)
    except CompilerError as error:
        reason = str(error)
    except OSError as error:
        reason = f"it was compiled, but cannot be loaded ({error})"
    LOG.warning("%s is not used, torch operations do its work slower: %s", source.name, reason)
    return None


def _load(compiler: str, source: Path, flags: Sequence[str]) -> ctypes.CDLL:
    """The library for this source, its headers, compiler and processor; compiled if it is not in the cache.

    Raises:
        CompilerError: the compiler is missing, failed, or took longer than a minute.
        OSError: the library cannot be loaded from the cache nor from a temporary folder.
    """
    flags = ("-O3", "-march=native", "-shared", "-fPIC", *flags)
    version = _run(compiler, "--version")
    headers = (each.read_text() for each in sorted(source.parent.glob("*.h")))
    key = "\0".join((source.read_text(), *headers, *flags, version, _processor()))
    return use_cached(
        f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so",
        make=lambda path: _run(compiler, *flags, str(source), "-o", str(path), "-lm"),
        use=lambda path: ctypes.CDLL(str(path)),
    )


def _run(compiler: str, *arguments: str) -> str:
    """What the compiler prints to its standard output. Raises CompilerError."""
    name = f"the C compiler {compiler} ($ADAMTUNE_COMPILER)"
    try:
        return subprocess.run(
            (compiler, *arguments), check=True, capture_output=True, text=True, errors="replace", timeout=60
        ).stdout
    except OSError as error:
        raise CompilerError(f"{name} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise CompilerError(f"{name} failed with exit code {error.returncode}: {error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{name} took longer than {error.timeout:g} seconds") from error


def _processor() -> str:
    """What ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
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


def has_kernels() -> bool:
    """Whether there is a C compiler, and with it the functions in C."""
    return kernel_library(torch.float32) is not None


def kernel_function(dtype: torch.dtype, name: str) -> ctypes._NamedFuncPointer:
    """A C function; ``handles`` has said that it is there. One that is for any type lies in each library."""
    loaded = kernel_library(dtype if dtype in PRECISIONS else torch.float32)
    assert loaded is not None
    return loaded[name]
