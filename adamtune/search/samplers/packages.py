"""The packages that a sampler alone needs, and the extra of adamtune that installs them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from adamtune.errors import AdamtuneError

EXTRAS: Mapping[str, tuple[str, ...]] = {"cmaes": ("cmaes",), "gp": ("scipy", "greenlet")}
"""By the name of a sampler, which is the name of the extra, too. Optuna imports them when it samples."""


def check_packages(sampler: str) -> None:
    """Checks that the packages of a sampler are installed.

    Raises:
        AdamtuneError: one is missing.
    """
    missing = [name for name in EXTRAS.get(sampler, ()) if find_spec(name) is None]
    if missing:
        raise AdamtuneError(
            f"sampler: {sampler} needs {' and '.join(missing)}, not installed here. Run"
            f" `pip install 'adamtune[{sampler}]'`, then the same command again, or use sampler: tpe."
        )
