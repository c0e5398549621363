"""The tables that lie in scikit-learn's package, read without importing it: that takes a second."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamtune.errors import AdamtuneError


def shipped(name: str, delimiter: str | None = None) -> NDArray[Any]:
    """A table of numbers from ``sklearn/datasets/data``, float64 ``[rows, columns]`` or ``[rows]``.

    Raises:
        AdamtuneError: scikit-learn is not installed, or its version has no such table.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise AdamtuneError("scikit-learn, which has the data, is not installed: pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / name
    if not path.exists():
        raise AdamtuneError(f"this version of scikit-learn has no {path}: install the one in constraints.txt")
    return np.loadtxt(path, delimiter=delimiter)
