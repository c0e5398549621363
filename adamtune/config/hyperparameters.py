"""How a hyperparameter may be written: by its name or as ``one_minus_<name>``, within legal bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Annotated, Any

from pydantic import Field

from adamtune.optimizers.catalog import Entry, Hyperparameter

ONE_MINUS = "one_minus_"
LEAST_COMPLEMENT = 1e-12
"""1 minus anything much smaller is 1 in float64, which is no legal decay."""


def complement(plain: Hyperparameter) -> Hyperparameter:
    """``beta1`` as ``one_minus_beta1``."""
    return replace(
        plain,
        name=ONE_MINUS + plain.name,
        default=1 - plain.default,
        low=max(1 - plain.high, LEAST_COMPLEMENT),
        high=1 - plain.low,
        open_low=False,
        open_high=plain.open_low,
        summary=f"1 - {plain.name}",
    )


def forms(plain: Hyperparameter) -> tuple[Hyperparameter, ...]:
    """Every way to write a hyperparameter, its own name first."""
    return (plain, complement(plain)) if plain.complement else (plain,)


def writable(entry: Entry) -> dict[str, Hyperparameter]:
    """Everything that may be written for an optimizer or a schedule, by name."""
    return {form.name: form for plain in entry.hyperparameters for form in forms(plain)}


def as_trained(name: str, value: Any) -> tuple[str, Any]:
    """A hyperparameter as searched, as the optimizer takes it: ``one_minus_beta1`` 0.1 is ``beta1`` 0.9."""
    return (name.removeprefix(ONE_MINUS), 1 - value) if name.startswith(ONE_MINUS) else (name, value)


def legal_type(hyperparameter: Hyperparameter) -> Any:
    """The type of a legal value, bounds included, as pydantic reads it."""
    if hyperparameter.kind is bool:
        return bool
    bounds: dict[str, Any] = {"allow_inf_nan": False} if hyperparameter.kind is float else {}
    if isfinite(hyperparameter.low):
        bounds["gt" if hyperparameter.open_low else "ge"] = hyperparameter.low
    if isfinite(hyperparameter.high):
        bounds["lt" if hyperparameter.open_high else "le"] = hyperparameter.high
    return Annotated[hyperparameter.kind, Field(**bounds)]


def having(name: str, catalog: Mapping[str, Entry]) -> list[str]:
    """The optimizers or schedules that have what is written ``name``."""
    return [entry.name for entry in catalog.values() if name in writable(entry)]
