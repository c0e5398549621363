"""Runs the tests of the kernels with GCC's sanitizers, which find reads and writes beyond their memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
NAMES = ("product", "layer_kernels", "batching", "normalisation", "recurrent", "replay")
# Without -fno-builtin, memcpy of parts of a vector becomes instructions that the sanitizer does not check.
RUN = """
import sys
from adamtune.engines.native import loader
# Their code takes long to compile on a busy machine.
real = loader.subprocess.run
loader.subprocess.run = lambda *args, **options: real(*args, **options | {"timeout": 600})
loader.FLAGS += ("-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-builtin", "-g")
assert all(loader.kernel_library(each) for each in loader.PRECISIONS), "not compiled"
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def sanitizer(name: str) -> str:
    """The path of one of the compiler's libraries."""
    try:
        found = subprocess.check_output(["gcc", f"-print-file-name={name}"], text=True).strip()
    except OSError:
        found = name
    if not Path(found).is_absolute():
        pytest.skip(f"needs gcc with {name}")
    return found


def test_kernels_read_and_write_their_own_memory_alone(tmp_path: Path) -> None:
    tests = [str(FOLDER / f"test_{each}.py") for each in NAMES]
    environment = os.environ | {
        "LD_PRELOAD": f"{sanitizer('libasan.so')} {sanitizer('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0",  # of Python itself
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "ADAMTUNE_COMPILER": "gcc",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    done = subprocess.run(
        # The sanitizer holds freed memory back for a while.
        [sys.executable, "-c", RUN, "-k", "not memory_behind", *tests],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
