"""Turns what users give as rows into trees of tensors: arrays, data frames and data sets."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adamtune.tasks.pytree import leaves, map_rows

Categories = dict[str, tuple[Any, ...]]

KINDS = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_, "c": np.complex64}
"""The type that NumPy arrays of each kind become."""


def tensors(splits: Mapping[str, Any]) -> tuple[dict[str, Any], Categories]:
    """The rows of each split as tensors, and the categories of the columns of data frames.

    Args:
        splits: rows by name, as ``Data`` takes them. A category has one number in all of them.

    Raises:
        ValueError: the rows are not as ``Data`` takes them; the message names the split and the array.
    """
    categories: Categories = {}
    arrays = _arrays([map_rows(_stack, rows) for rows in splits.values()], categories)
    found = {name: _tensors(rows, name) for name, rows in zip(splits, arrays, strict=True)}
    for name, rows in found.items():
        _check_counts(rows, name)
    return found, categories


def _check_counts(rows: Any, name: str) -> None:
    counts = sorted({len(each) for each in leaves(rows)})
    if len(counts) > 1:
        raise ValueError(f"{name}: the arrays have different numbers of rows: {', '.join(map(str, counts))}")
    if not any(counts):
        raise ValueError(f"{name}: there are no rows")


def _stack(leaf: Any) -> Any:
    from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

    if isinstance(leaf, TensorDataset):
        return leaf.tensors
    if not isinstance(leaf, Dataset):
        return leaf
    if isinstance(leaf, IterableDataset):
        raise ValueError(
            f"{type(leaf).__name__} is an iterable data set, without a number of rows: give its rows"
        )
    try:
        items = [leaf[index] for index in range(len(leaf))]  # type: ignore[arg-type]
        stacked = default_collate(items)
    except (TypeError, RuntimeError) as error:
        first = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"the items of {type(leaf).__name__} cannot be stacked: {first}") from error
    return tuple(stacked) if isinstance(stacked, list) else stacked


def _arrays(parts: list[Any], categories: Categories) -> list[Any]:
    """The same parts with arrays in place of data frames; a category has one number in all parts."""
    first = parts[0]
    if isinstance(first, dict | tuple | list):
        if any(type(each) is not type(first) or _keys(each) != _keys(first) for each in parts):
            raise ValueError("the training, validation and test rows have different structures")
        found = [_arrays([each[key] for each in parts], categories) for key in _keys(first)]
        return [_like(first, each) for each in zip(*found, strict=True)] or parts
    if type(first).__module__.partition(".")[0] != "pandas":
        return parts
    if any(type(each) is not type(first) for each in parts):
        raise ValueError("the training, validation and test rows have different types")
    return _frame_arrays(parts, categories)


def _keys(container: Any) -> list[Any]:
    return list(container) if isinstance(container, dict) else list(range(len(container)))


def _like(container: Any, values: Sequence[Any]) -> Any:
    """A container of the same kind with other values."""
    if isinstance(container, dict):
        return dict(zip(container, values, strict=True))
    return type(container)(*values) if hasattr(container, "_fields") else type(container)(values)


def _frame_arrays(parts: list[Any], categories: Categories) -> list[NDArray[Any]]:
    """The arrays of data frames, or of series, of all parts."""
    import pandas as pd

    if parts[0].ndim == 2 and any(list(each.columns) != list(parts[0].columns) for each in parts):
        raise ValueError("the training, validation and test rows have different columns")
    whole = pd.concat(parts, ignore_index=True)
    ends = np.cumsum([len(each) for each in parts])[:-1]
    if whole.ndim == 1:
        array = _column(whole, categories)
    else:
        columns = [_column(whole.iloc[:, index], categories) for index in range(whole.shape[1])]
        if not columns:
            raise ValueError("a data frame has no columns")
        coded = all(str(name) in categories for name in whole.columns)
        array = np.stack([each.astype(np.int64 if coded else np.float32) for each in columns], axis=1)
    return np.split(array, ends)


def _column(column: Any, categories: Categories) -> NDArray[Any]:
    """One column as numbers ``[rows]``: float32, int64, or the numbers of its categories."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    column = column.infer_objects()
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"column {column.name} has {missing} missing values: fill them, or drop those rows")
    if isinstance(column.dtype, pd.CategoricalDtype) or is_bool_dtype(column) or not is_numeric_dtype(column):
        if column.dtype.kind in "mM":
            raise ValueError(
                f"column {column.name} has dates: make numbers of them, such as days, or leave it out"
            )
        coded = pd.Categorical(column)
        categories[str(column.name)] = tuple(coded.categories)
        return np.asarray(coded.codes, np.int64)
    if is_complex_dtype(column):
        raise ValueError(f"column {column.name} has complex numbers: give their parts as two columns")
    return np.asarray(column.to_numpy(np.int64 if column.dtype.kind in "iu" else np.float32))


def _tensors(rows: Any, place: str) -> Any:
    """The tree with tensors in place of arrays; ``place`` names it in messages, such as ``train[0]``."""
    if isinstance(rows, dict | tuple | list):
        return _like(rows, [_tensors(rows[key], f"{place}[{key!r}]") for key in _keys(rows)])
    tensor = _tensor(rows, place)
    if not tensor.dim():
        raise ValueError(f"{place} is one number: give an array whose first dimension is the rows")
    return _finite(tensor, place)


def _tensor(array: Any, place: str) -> Tensor:
    if isinstance(array, Tensor):
        tensor = array.detach().cpu()
        return tensor.float() if tensor.dtype == torch.float64 else tensor
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_, "c": np.complex64}
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{place} is of type {type(array).__name__}: give a tensor, an array or a data frame"
        )
    if array.dtype.kind not in kinds:
        raise ValueError(f"{place} has the type {array.dtype}: give numbers, or a data frame with categories")
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        # A memory-mapped file may be open for reading alone; nobody writes to the tensor.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array, kinds[array.dtype.kind]))


def _finite(tensor: Tensor, place: str) -> Tensor:
    """The tensor. Raises ValueError if one of its numbers is NaN or infinite."""
    if tensor.is_floating_point() or tensor.is_complex():
        wrong = ~torch.isfinite(memory(tensor))
        if wrong.any():
            row = [int(each) for each in (~torch.isfinite(tensor)).nonzero()[0]]
            value = tensor[tuple(row)].item()
            raise ValueError(
                f"{place}: {int(wrong.sum())} of {wrong.numel()} numbers are NaN, infinite or beyond float32,"
                f" the first ({value}) at {row}: fill them, or drop those rows"
            )
    return tensor


def memory(tensor: Tensor) -> Tensor:
    """The memory that a view with overlapping rows shows, such as ``unfold``'s; any other tensor itself."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if extent < tensor.numel() and all(tensor.stride()):
        return tensor.as_strided((extent,), (1,))
    return tensor
