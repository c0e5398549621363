"""Numbers that a training step reads from tensors in order to show or to keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

READ = "a number is read from a tensor by .item(), float() or int(); compute with the tensor"
"""What is wrong with a number that decides something, or that a tensor is computed with."""


class Observed:
    """A number that nobody knows while a step is recorded: each member has its own.

    Arithmetic with numbers gives such a number again, and its text is ``nan``. Whatever else is done with it
    would be recorded for one member alone, and is an error.
    """

    def __repr__(self) -> str:
        return "nan"

    def __format__(self, spec: str) -> str:
        return format(float("nan"), spec)

    def __round__(self, digits: int | None = None) -> Observed:
        return self

    def _with(self, *others: Any) -> Observed:
        return refused() if any(isinstance(each, Tensor) for each in others) else self

    def _refuse(self, *_: Any) -> Any:
        refused()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _with
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __pos__ = __abs__ = _with
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _with
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse
    __bool__ = __int__ = __float__ = __index__ = __hash__ = __complex__ = _refuse


def refused() -> Any:
    """Raises RuntimeError: a number decides something."""
    raise RuntimeError(READ)


def item(tensor: Tensor) -> Any:
    """``tensor.item()`` of each member: real numbers are ``Observed``, others are refused by ``vmap``."""
    return Observed() if tensor.is_floating_point() and tensor.numel() == 1 else Tensor.item(tensor)


def tolist(tensor: Tensor) -> Any:
    """``tensor.tolist()`` of each member, as ``item``."""
    if not tensor.is_floating_point():
        return Tensor.tolist(tensor)
    return _nested(tensor.shape)


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
"""Functions that read numbers from tensors."""
