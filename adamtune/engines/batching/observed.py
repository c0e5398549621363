"""Numbers that a training step reads from tensors: to show or keep them, to compute with them, or to branch.

Each member has a number of its own, which a recorded step does not know. ``Observed`` stands for it. Where a
number decides something, a step may be recorded for one decision: ``Guards`` says then for which members a
replay has to decide otherwise.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.torch_private import is_batched, unwrapped

READ = "a number is read from a tensor by .item(), float() or int(); compute with the tensor"
"""What is wrong with a number that decides something, or that a tensor is computed with."""


class Observed:
    """A real number that nobody knows while a step is recorded.

    Args:
        value: what it is for each member, ``[]`` under ``vmap``; None if nobody needs it. Then arithmetic
            with numbers gives such a number again, and whatever else is done with it is an error.
    """

    def __init__(self, value: Tensor | None = None) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "nan"

    def __format__(self, spec: str) -> str:
        return format(float("nan"), spec)

    def __round__(self, digits: int | None = None) -> Observed:
        return self if self._value is None else Observed(self._value.round(decimals=digits or 0))

    def tensor(self) -> Tensor:
        """What it is for each member. Raises RuntimeError if that is not known."""
        if self._value is None:
            raise RuntimeError(READ)
        return self._value

    def _read(self, *_: Any) -> Any:
        raise RuntimeError(READ)

    def __bool__(self) -> bool:
        return bool(self.tensor())

    def __int__(self) -> int:
        return int(self.tensor())

    __float__ = __index__ = __hash__ = __complex__ = _read


def _arithmetic(function: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    def apply(self: Observed, *others: Any) -> Any:
        values: Sequence[Any] = (self, *others)
        beside_tensor = any(isinstance(each, Tensor) for each in others)
        if self._value is None and not beside_tensor:
            return self
        if beside_tensor:
            values, _ = as_tensors(tuple(values), {})
        values = [each.tensor() if isinstance(each, Observed) else each for each in values]
        found = function(*reversed(values) if swapped else values)
        return found if beside_tensor else Observed(found)

    return apply


def _comparison(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: Observed, other: Any) -> Any:
        return bool(function(self.tensor(), other.tensor() if isinstance(other, Observed) else other))

    return apply


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Observed, f"__{_name}__", _arithmetic(getattr(operator, _name)))
    setattr(Observed, f"__r{_name}__", _arithmetic(getattr(operator, _name), swapped=True))
for _name in ("neg", "pos", "abs"):
    setattr(Observed, f"__{_name}__", _arithmetic(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Observed, f"__{_name}__", _comparison(getattr(operator, _name)))


def as_tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a function of torch with a tensor in place of each ``Observed``.

    Raises:
        RuntimeError: the number is not known.
    """
    given = (*args, *kwargs.values())
    if not any(isinstance(each, Observed) for each in given):
        return args, kwargs
    real = [each.dtype for each in given if isinstance(each, Tensor) and each.is_floating_point()]
    dtype = real[0] if real else torch.get_default_dtype()

    def own(value: Any) -> Any:
        return value.tensor().to(dtype) if isinstance(value, Observed) else value

    return tuple(map(own, args)), {name: own(each) for name, each in kwargs.items()}


def item(tensor: Tensor) -> Any:
    """``tensor.item()`` of each member: real numbers are ``Observed``, others are refused by ``vmap``."""
    return Observed() if tensor.is_floating_point() and tensor.numel() == 1 else Tensor.item(tensor)


def tolist(tensor: Tensor) -> Any:
    """``tensor.tolist()`` of each member, as ``item``."""
    return _nested(tensor.shape) if tensor.is_floating_point() else Tensor.tolist(tensor)


def _nested(shape: Any) -> Any:
    return [_nested(shape[1:]) for _ in range(shape[0])] if shape else Observed()


def text(tensor: Tensor, spec: str) -> str:
    """``format(tensor, spec)`` of each member."""
    return Tensor.__format__(tensor, spec) if tensor.dim() else format(Observed(), spec)


READERS: dict[Callable[..., Any], Callable[..., Any]] = {
    Tensor.item: item,
    Tensor.tolist: tolist,
    Tensor.__format__: text,
}
"""Functions that read numbers from tensors, for steps that only show or keep them."""


class Guards:
    """The decisions of a step by values: it is recorded for one outcome of each.

    Args:
        anchor: a tensor of which each member has its own, under ``vmap``.
        decisions: the outcome of each decision in turn; those that come later are added to it, as they are
            for the first member.
    """

    def __init__(self, anchor: Tensor, decisions: list[int]) -> None:
        self._anchor, self._decisions = anchor, decisions
        self._failed: list[Tensor] = []
        self.readers: dict[Callable[..., Any], Callable[..., Any]] = {
            Tensor.__bool__: lambda tensor: bool(self._decided(tensor != 0)),
            torch.is_nonzero: lambda tensor: bool(self._decided(tensor != 0)),
            Tensor.__int__: self._decided,
            Tensor.__index__: self._decided,
            Tensor.item: self._item,
            torch.allclose: lambda *args, **kwargs: bool(self._decided(torch.isclose(*args, **kwargs).all())),
            torch.equal: lambda one, other: (
                one.shape == other.shape and bool(self._decided((one == other).all()))
            ),
            F.one_hot: self._one_hot,
        }

    @property
    def failed(self) -> Tensor:
        """Whether the member decides otherwise, ``[]`` under ``vmap``."""
        return reduce(torch.logical_or, self._failed, self._anchor != self._anchor)

    def _decided(self, tensor: Tensor) -> int:
        """A whole number that decides something."""
        own = unwrapped(tensor)
        if own.numel() != (len(unwrapped(self._anchor)) if is_batched(tensor) else 1):
            return int(Tensor.__int__(tensor))  # torch says what is wrong
        if len(self._failed) == len(self._decisions):
            # Not by a kernel, which would be recorded.
            found = own.detach().numpy().flat[0]
            self._decisions.append(bool(found) if own.dtype == torch.bool else int(found))
        found = self._decisions[len(self._failed)]
        value = tensor.reshape(())
        self._failed.append((value.trunc() if value.is_floating_point() else value) != found)
        return found

    def _item(self, tensor: Tensor) -> Any:
        if tensor.is_floating_point():
            return Observed(tensor.detach().reshape(()).double())
        return bool(self._decided(tensor)) if tensor.dtype == torch.bool else self._decided(tensor)

    def _one_hot(self, tensor: Tensor, num_classes: int = -1) -> Tensor:
        return F.one_hot(tensor, self._decided(tensor.max()) + 1 if num_classes == -1 else num_classes)
