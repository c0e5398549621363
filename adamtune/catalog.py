"""Hyperparameters, and the catalogs of what has them: optimizers and learning-rate schedules.

Torch-free, so that a study file is checked without importing torch. Names of hyperparameters are unique over
all optimizers and schedules, because one flat dict holds everything that a trial is trained with.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar


@dataclass(frozen=True)
class Hyperparameter:
    """One number (or switch) of an optimizer or a schedule.

    Attributes:
        default: the value where the study file gives none. Its type is the hyperparameter's: float, int or
            bool.
        low, high: the legal range, ends included unless ``open_low`` or ``open_high``.
        complement: whether it may be searched as ``one_minus_<name>``, too.
    """

    name: str
    default: float | int | bool
    low: float
    high: float
    summary: str
    open_low: bool = False
    open_high: bool = False
    complement: bool = False

    @property
    def kind(self) -> type:
        """float, int or bool."""
        return type(self.default)

    @property
    def legal(self) -> str:
        """The legal range as text, such as ``(0, 1)`` or ``true or false``."""
        if self.kind is bool:
            return "true or false"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

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
    """A decay of a running mean, in [0, 1)."""
    return Hyperparameter(name, default, 0.0, 1.0, summary, open_high=True, complement=complement)


def fraction(name: str, default: float, summary: str, open_low: bool = False) -> Hyperparameter:
    """A part of something, in [0, 1], or in (0, 1] if ``open_low``."""
    return Hyperparameter(name, default, 0.0, 1.0, summary, open_low=open_low)


def switch(name: str, summary: str) -> Hyperparameter:
    """A yes-or-no option, off by default."""
    return Hyperparameter(name, False, 0, 1, summary)


@dataclass(frozen=True)
class Entry:
    """One optimizer or schedule of a catalog."""

    name: str
    summary: str
    reference: str
    hyperparameters: tuple[Hyperparameter, ...]

    @property
    def defaults(self) -> dict[str, float]:
        """Every hyperparameter at its default."""
        return {each.name: each.default for each in self.hyperparameters}


E = TypeVar("E", bound=Entry)


def discover(package: str, path: Iterable[str], kind: type[E]) -> Mapping[str, E]:
    """The catalog of a package: every ``kind`` that a module of it defines, by name, sorted by name.

    Modules named ``torch_...`` are left out, because they import torch.

    Args:
        package: the package's name.
        path: its ``__path__``.
        kind: the class of the descriptors.
    """
    names = [found.name for found in pkgutil.iter_modules(path) if not found.name.startswith("torch_")]
    modules = [import_module(f"{package}.{name}") for name in names]
    entries = {
        each.name: each for module in modules for each in vars(module).values() if isinstance(each, kind)
    }
    return dict(sorted(entries.items()))
