"""Rows that a mask selects, ``x[mask]``: their number differs between members, and so has no tensor of all.

``Selection`` has all rows, with the first selected one in the place of each row that is not selected. What is
computed of each row, and what does not see repeated rows, such as the largest, is then right; means and sums
leave the repeated rows out. A function whose result for a row depends on other rows is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adamtune.engines.torch_private import tree_leaves, tree_map_only, unwrapped

MASK = (
    "how many elements are chosen depends on the data (a mask as an index, or nonzero); use torch.where, or"
    " weights of 0 and 1"
)
"""What is wrong with a result that depends on the number of selected rows."""
MEANS = {Tensor.mean, torch.mean}
SUMS = {Tensor.sum, torch.sum}
LARGEST = {Tensor.max, Tensor.min, Tensor.amax, Tensor.amin, torch.max, torch.min, torch.amax, torch.amin}
PAIRS = {Tensor.max, Tensor.min, torch.max, torch.min}
"""Those that return indices, too, if they are given a dimension."""
INDEXED = {F.cross_entropy, F.nll_loss}
"""Those that leave out targets that are ``ignore_index``."""
LOSSES = {
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.cross_entropy,
    F.nll_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
}


_REFUSED = ContextVar("_REFUSED", default=False)


@contextmanager
def no_selections() -> Iterator[None]:
    """While it is entered, nothing is selected by a mask, as on a GPU, where values cannot be read."""
    token = _REFUSED.set(True)
    try:
        yield
    finally:
        _REFUSED.reset(token)


class Selection:
    """Selected rows.

    Args:
        rows: ``[rows, ...]``.
        mask: which of them are selected, bool ``[rows]``.

    Attributes:
        dtype: the type of their numbers.
        device: where they are.
    """

    def __init__(self, rows: Tensor, mask: Tensor) -> None:
        self.rows, self.mask = rows, mask
        self.dtype, self.device = rows.dtype, rows.device

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return of_selections(func, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        method = getattr(Tensor, name)
        if not callable(method) or name in {"numel", "size", "dim", "item", "tolist", "numpy", "nelement"}:
            raise RuntimeError(MASK)
        return partial(method_of, method, self)


def method_of(method: Callable[..., Any], selection: Selection, *args: Any, **kwargs: Any) -> Any:
    """The result of a method of tensors."""
    return of_selections(method, (selection, *args), kwargs)


def _operator(name: str) -> Callable[..., Any]:
    return lambda self, *others: method_of(getattr(Tensor, name), self, *others)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    for _side in ("", "r"):
        setattr(Selection, f"__{_side}{_name}__", _operator(f"__{_side}{_name}__"))
for _name in ("neg", "abs", "lt", "le", "gt", "ge", "eq", "ne", "invert", "and", "or", "getitem"):
    setattr(Selection, f"__{_name}__", _operator(f"__{_name}__"))


def _refuse(self: Selection) -> Any:
    raise RuntimeError(MASK)


for _name in ("len", "iter", "bool", "float", "int", "index", "hash"):
    setattr(Selection, f"__{_name}__", _refuse)


def select(tensor: Tensor, index: Any) -> Any:
    """``tensor[index]``."""
    if isinstance(index, tuple) and index and _is_mask(index[0]) and index[0].dim() == 1:
        return method_of(Tensor.__getitem__, select(tensor, index[0]), (slice(None), *index[1:]))
    if not _is_mask(index):
        return Tensor.__getitem__(tensor, index)
    if tensor.shape[: index.dim()] != index.shape or tensor.device.type != "cpu":
        raise RuntimeError(MASK)
    if _REFUSED.get():
        raise RuntimeError(MASK)
    mask = index.reshape(-1)
    places = torch.arange(len(mask), device=mask.device)
    first = torch.where(mask, places, len(mask) - 1).amin()
    rows = tensor.flatten(0, index.dim() - 1)
    return Selection(rows.index_select(0, torch.where(mask, places, first)), mask)


def assign(tensor: Tensor, index: Any, value: Any) -> None:
    """``tensor[index] = value``."""
    if not _is_mask(index) or tensor.shape[: index.dim()] != index.shape:
        Tensor.__setitem__(tensor, index, value)
        return
    mask = index.reshape(*index.shape, *[1] * (tensor.dim() - index.dim()))
    if isinstance(value, Selection):
        if not _alike(value.mask, index.reshape(-1)):
            raise RuntimeError(MASK)
        value = value.rows.reshape(tensor.shape)
    elif isinstance(value, Tensor) and value.dim():
        raise RuntimeError(MASK)
    tensor.copy_(torch.where(mask, value, tensor))


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype == torch.bool and index.dim() > 0


def masked_select(tensor: Tensor, mask: Tensor) -> Any:
    """``tensor.masked_select(mask)``."""
    return select(*torch.broadcast_tensors(tensor, mask))


def of_selections(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function of tensors returns for arguments some of which are selections.

    Raises:
        RuntimeError: it depends on more than each row by itself, or the selections are of different rows.
    """
    found = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Selection)]
    mask = found[0].mask
    others = [each.mask for each in found[1:] if each.mask is not mask]
    if not all(_alike(each, mask) for each in others):
        raise RuntimeError(MASK)
    result = _of_rows(func, args, kwargs, mask)
    for other in others:
        result = _if_alike(other, mask, result)
    return result


def _if_alike(one: Tensor, other: Tensor, result: Any) -> Any:
    """A result, or NaN in later steps in which the masks are not alike as they are in this one."""
    if isinstance(result, Selection):
        return Selection(_if_alike(one, other, result.rows), result.mask)
    if not isinstance(result, Tensor) or not result.is_floating_point():
        return result
    return torch.where((one == other).all(), result, torch.nan)


def _of_rows(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], mask: Tensor) -> Any:
    """What a function returns for selections of one mask."""
    if func.__name__.endswith("_") and not func.__name__.endswith("__"):
        raise RuntimeError(MASK)  # it would change a copy
    if func in LOSSES and (reduction := kwargs.get("reduction", "mean")) != "none":
        return _loss(func, args, kwargs, mask, mean=reduction == "mean")
    if func in MEANS | SUMS:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if dim in (None, 0, (0,), [0]) and len(args) < 3 and kwargs.keys() <= {"dim"}:
            return _reduced(args[0].rows, mask, mean=func in MEANS, dim=dim)
    if func in LARGEST and kwargs.keys() <= {"dim"}:
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        if dim is None or (func not in PAIRS and dim in (0, (0,), [0])):
            largest = func(*_with(lambda rows: rows, args), **kwargs)
            return torch.where(mask.any(), largest, torch.nan) if largest.is_floating_point() else largest
    result = _by_row(func, args, kwargs, mask)
    return tree_map_only(Tensor, lambda each: Selection(each, mask), result)


def _loss(func: Callable[..., Any], args: Any, kwargs: dict[str, Any], mask: Tensor, mean: bool) -> Tensor:
    """The mean or sum of the losses of the selected rows."""
    given = {name: each for name, each in kwargs.items() if each is not None} | {"reduction": "none"}
    if len(args) > 2 or "weight" in given:
        raise RuntimeError(MASK)
    losses = _by_row(func, args, given, mask)
    target = args[1] if len(args) > 1 else given["target"]
    if func not in INDEXED or target.dtype.is_floating_point:
        return _reduced(losses, mask, mean, dim=None)
    if not isinstance(target, Selection):
        raise RuntimeError(MASK)
    # The losses of targets that do not count are 0.
    counted = _reduced((target.rows != given.get("ignore_index", -100)).to(losses.dtype), mask, False, None)
    total = _reduced(losses, mask, False, None)
    return total / counted if mean else total


def _by_row(func: Callable[..., Any], args: Any, kwargs: Any, mask: Tensor) -> Any:
    """What a function returns for all rows. Raises RuntimeError if a row's result depends on other rows."""
    result = func(*_with(lambda rows: rows.clone(), args), **_with(lambda rows: rows.clone(), kwargs))
    # In reverse order, so that sums over the rows before each one differ, too.
    some = max(1, len(mask) // 2)
    last = partial(_last, some=some)
    alone = func(*_with(last, args), **_with(last, kwargs))
    for each, own in zip(tree_leaves(result), tree_leaves(alone), strict=True):
        if not isinstance(each, Tensor) or not each.dim() or len(each) != len(mask) or len(own) != some:
            raise RuntimeError(MASK)
        if not _read(torch.isclose(_last(each, some), own, rtol=1e-3, atol=1e-5, equal_nan=True)).all():
            raise RuntimeError(MASK)
    return result


def _last(rows: Tensor, some: int) -> Tensor:
    """Copies of the last rows, the last one first."""
    return rows[-some:].flip(0)


def _with(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Arguments with something of the rows in place of each selection."""
    return tree_map_only(Selection, lambda each: change(each.rows), tree)


def _reduced(rows: Tensor, mask: Tensor, mean: bool, dim: Any) -> Tensor:
    """The mean or sum of the selected rows, over all dimensions or over the first."""
    weights = mask.reshape(-1, *[1] * (rows.dim() - 1))
    sum_of = torch.where(weights, rows, torch.zeros_like(rows))
    count = mask.sum() * (rows[0].numel() if dim is None else 1)
    total = sum_of.sum() if dim is None else sum_of.sum(0)
    return total / count if mean else total


def _alike(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and bool(_read(one == other).all()))


def _read(tensor: Tensor) -> Any:
    """The values of all members. Not by a kernel, which would be recorded."""
    return unwrapped(tensor).detach().numpy()
