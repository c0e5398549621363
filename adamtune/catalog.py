"""Hyperparameters, and the catalogs of optimizers and schedules. Torch-free.

A hyperparameter of an optimizer and one of a schedule never share a name, because one flat dict holds all
settings of a trial.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, TypeVar

ONE_MINUS = "one_minus_"
"""The prefix under which a study file gives the distance of a hyperparameter from 1."""

NONE = "none"
"""The value of a hyperparameter that is left out."""

LEAST_COMPLEMENT = 1e-12
"""The least legal distance from 1: one minus a much smaller one is 1 in float64, which is no legal decay."""


@dataclass(frozen=True)
class Hyperparameter:
    """A number or a switch of an optimizer or a schedule.

    Attributes:
        name: the key in a study file and in a trial's settings.
        default: the value where the study file gives none. Its type is the hyperparameter's: float, int or
            bool; ``NONE`` for a float that may be left out.
        low, high: the ends of the legal range, legal themselves unless ``open_low`` or ``open_high``.
        summary: the meaning, in one line.
        complement: whether a study file may give ``one_minus_<name>`` instead.
    """

    name: str
    default: float | int | bool | str
    low: float
    high: float
    summary: str
    open_low: bool = False
    open_high: bool = False
    complement: bool = False

    @property
    def kind(self) -> type:
        """float, int or bool."""
        return float if self.optional else type(self.default)

    @property
    def optional(self) -> bool:
        """Whether ``NONE`` is legal, too."""
        return self.default == NONE

    @property
    def legal(self) -> str:
        """The legal range as text, such as ``(0, 1)`` or ``true or false``."""
        if self.kind is bool:
            return "true or false"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}" + (f" or {NONE}" if self.optional else "")

    @property
    def forms(self) -> tuple[Hyperparameter, ...]:
        """The ways to write it in a study file: itself and, if it has one, its complement."""
        if not self.complement:
            return (self,)
        complement = replace(
            self,
            name=ONE_MINUS + self.name,
            default=1 - float(self.default),
            # A decay may be 0 but not 1, so its complement may be 1 but not 0.
            low=max(1 - self.high, LEAST_COMPLEMENT),
            high=1 - self.low,
            open_low=False,
            open_high=self.open_low,
            summary=f"1 - {self.name}",
        )
        return self, complement

    def allows(self, value: float) -> bool:
        """Whether ``value`` lies in the legal range."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below


def positive(name: str, default: float, summary: str) -> Hyperparameter:
    """A number above 0."""
    return Hyperparameter(name, default, 0.0, float("inf"), summary, open_low=True, open_high=True)


def non_negative(name: str, default: float, summary: str) -> Hyperparameter:
    """A number that is at least 0."""
    return Hyperparameter(name, default, 0.0, float("inf"), summary, open_high=True)


def decay(name: str, default: float, summary: str, complement: bool = False) -> Hyperparameter:
    """The decay of a running mean, in [0, 1)."""
    return Hyperparameter(name, default, 0.0, 1.0, summary, open_high=True, complement=complement)


def fraction(name: str, default: float, summary: str, open_low: bool = False) -> Hyperparameter:
    """A fraction of a quantity, in [0, 1], or in (0, 1] if ``open_low``."""
    return Hyperparameter(name, default, 0.0, 1.0, summary, open_low=open_low)


def switch(name: str, summary: str) -> Hyperparameter:
    """A boolean, false by default."""
    return Hyperparameter(name, False, 0, 1, summary)


def as_trained(name: str, value: Any) -> tuple[str, Any]:
    """The name and value that an optimizer takes for a hyperparameter as searched.

    Args:
        name: the searched name, such as ``one_minus_beta1``.
        value: the searched value, such as 0.1.

    Returns:
        Name and value in the optimizer's terms, such as ``beta1`` and 0.9.
    """
    # A decay is searched by its distance from 1, because that is what a log scale has to spread.
    return (name.removeprefix(ONE_MINUS), 1 - value) if name.startswith(ONE_MINUS) else (name, value)


@dataclass(frozen=True)
class Entry:
    """One optimizer or schedule of a catalog.

    Attributes:
        name: the name in a study file.
        summary: the meaning, in one line.
        reference: the publication or the torch class.
        hyperparameters: all hyperparameters, in the order of tables and generated code.
    """

    name: str
    summary: str
    reference: str
    hyperparameters: tuple[Hyperparameter, ...]

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of every hyperparameter, by name."""
        return {each.name: each.default for each in self.hyperparameters}

    @property
    def forms(self) -> dict[str, Hyperparameter]:
        """Everything that a study file may give for this entry, by the name it is written under."""
        return {form.name: form for each in self.hyperparameters for form in each.forms}


TRAINING = Entry(
    name="training",
    summary="What every trial may have, whatever its optimizer and schedule",
    reference="torch.nn.utils.clip_grad_norm_",
    hyperparameters=(
        Hyperparameter(
            "clip_norm",
            NONE,
            0.0,
            math.inf,
            "the norm of the gradient of all weights, to which a larger one is scaled down before each step",
            open_low=True,
            open_high=True,
        ),
    ),
)
"""The hyperparameters that belong to no optimizer or schedule."""


E = TypeVar("E", bound=Entry)


def discover(package: str, path: Iterable[str], kind: type[E]) -> Mapping[str, E]:
    """The catalog of a package: every entry that a module of the package defines.

    Modules named ``torch_...`` are left out, because they import torch.

    Args:
        package: the package's name.
        path: the package's ``__path__``.
        kind: the class of the entries.

    Returns:
        The entries by name, sorted by name.
    """
    # Found and not listed, so that a new file is all that a new entry needs.
    names = [module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("torch_")]
    modules = [import_module(f"{package}.{name}") for name in names]
    entries = {
        each.name: each for module in modules for each in vars(module).values() if isinstance(each, kind)
    }
    return dict(sorted(entries.items()))
