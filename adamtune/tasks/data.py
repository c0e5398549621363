"""The training, validation and test rows of a task, given or split from one set. Torch-free to import."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Data:
    """Training, validation and test rows.

    Rows are an array, or nested tuples, lists and dicts of arrays, whose first dimensions agree: row i of
    each belongs to example i. An array is one of these:

    - a torch tensor. It keeps its type, but float64 becomes float32.
    - a NumPy array, also a memory-mapped one. Real numbers become float32, whole numbers int64.
    - a pandas data frame: one float32 array ``[rows, columns]``. A column of text, categories or truth values
      becomes the numbers of its categories, which ``categories`` keeps. If all columns are such, the array is
      int64.
    - a pandas series: float32, or int64 if it has whole numbers or categories.
    - a map-style torch ``Dataset``: its items are stacked once.

    The data hold in memory and are not written to.

    Attributes:
        train: the rows that models are trained with.
        validation: the rows that trials are compared with.
        test: rows that the search never looks at, if there are any.
        categories: by column of a data frame, the categories in the order of their numbers.

    Raises:
        ValueError: a column has missing values, or splits have different columns.
    """

    train: Any
    validation: Any
    test: Any = None
    categories: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        names = ("train", "validation", "test")[: 2 if self.test is None else 3]
        categories = dict(self.categories)
        found = _arrays([_stacked(getattr(self, name)) for name in names], categories)
        for name, value in (*zip(names, found, strict=True), ("categories", categories)):
            object.__setattr__(self, name, value)

    @classmethod
    def split(
        cls,
        *rows: Any,
        validation: float = 0.2,
        test: float | None = None,
        seed: int = 0,
        stratify: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | None = None,
    ) -> Data:
        """Splits rows at random, or as asked for.

        Args:
            rows: one set of rows as above, or several, which become a tuple: ``Data.split(inputs, target)``.
            validation: the part of the rows for validation, such as 0.2; or a number of rows, such as 1000.
            test: likewise for the test; none by default.
            seed: of the random order. One study has one split, whatever the study's own seed.
            stratify: labels ``[rows]`` that shall be equally frequent in all parts.
            groups: names ``[rows]``: rows of one group, such as the images of one patient, stay together. The
                parts are then parts of the groups.
            time: times ``[rows]``: the parts follow each other in time, training first, test last.

        Raises:
            ValueError: a part would be empty, the arrays have different numbers of rows, or more than one of
                ``stratify``, ``groups`` and ``time`` is given.
        """
        from adamtune.tasks.pytree import take_rows

        categories: dict[str, tuple[Any, ...]] = {}
        (arrays,) = _arrays([_stacked(rows[0] if len(rows) == 1 else rows)], categories)
        count = row_count(arrays, "Data.split")
        given = {"stratify": stratify, "groups": groups, "time": time}
        keys = {name: _key(name, each, count) for name, each in given.items() if each is not None}
        parts = _split(count, validation, test, seed, keys)
        return cls(*(take_rows(arrays, part) for part in parts), categories=categories)


def row_count(rows: Any, name: str) -> int:
    """The number of rows of a tree of arrays.

    Raises:
        ValueError: there are no arrays or rows, or the first dimensions do not agree.
    """
    from adamtune.tasks.pytree import leaves

    shapes = [np.shape(each) for each in leaves(rows)]
    if () in shapes or not shapes:
        raise ValueError(f"{name}: found {_kinds(rows)} instead of arrays with a first dimension of rows")
    counts = sorted({shape[0] for shape in shapes})
    if len(counts) > 1:
        raise ValueError(f"{name}: the arrays have different numbers of rows: {', '.join(map(str, counts))}")
    if not counts[0]:
        raise ValueError(f"{name} has no rows")
    return int(counts[0])


def _kinds(rows: Any) -> str:
    from adamtune.tasks.pytree import leaves

    return ", ".join(dict.fromkeys(type(each).__name__ for each in leaves(rows))) or "nothing"


def _key(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    """The values of a keyword of ``split`` as an array ``[rows]``. Raises ValueError for any other shape."""
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"{name} has the shape {array.shape}: give one value for each of the {count} rows")
    return array


def _split(
    count: int, validation: float, test: float | None, seed: int, keys: Mapping[str, NDArray[Any]]
) -> list[Indices]:
    """The rows of each part, in their order: training, validation and, if asked for, test."""
    if len(keys) > 1:
        raise ValueError(f"{' and '.join(keys)} are both given: give one of them")
    groups = keys.get("groups")
    names, members = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    wanted = {"validation": validation} if test is None else {"validation": validation, "test": test}
    sizes = [_size(name, each, len(names)) for name, each in wanted.items()]
    if sum(sizes) >= len(names):
        what = "rows" if groups is None else "groups"
        raise ValueError(f"{' + '.join(map(str, sizes))} of {len(names)} {what} leave none for training")
    if "time" in keys:
        order = np.argsort(keys["time"], kind="stable")
        parts = np.split(order, np.cumsum([count - sum(sizes), *sizes])[:-1])
    else:
        parts = _draw(len(names), sizes, seed, keys.get("stratify"))
    return [np.flatnonzero(np.isin(members, part)) for part in parts]


def _size(name: str, part: float, count: int) -> int:
    """The number of rows or groups in a part."""
    if isinstance(part, int) and part >= 1:
        return part
    if not 0 < part < 1:
        raise ValueError(f"{name} is {part}: give a part between 0 and 1, such as 0.2, or a number of rows")
    return max(1, round(part * count))


def _draw(count: int, sizes: Sequence[int], seed: int, labels: NDArray[Any] | None) -> list[Indices]:
    """Random parts of ``range(count)``: the rest, then one of each size. The last part is drawn first."""
    from sklearn.model_selection import train_test_split

    parts, rest = [], np.arange(count)
    for size in reversed(sizes):
        stratify = None if labels is None else labels[rest]
        try:
            rest, part = train_test_split(rest, test_size=size, random_state=seed, stratify=stratify)
        except ValueError as error:
            raise ValueError(f"the rows cannot be split by stratify: {error}") from error
        parts.append(part)
    return [rest, *reversed(parts)]


def _stacked(rows: Any) -> Any:
    """The rows with each torch ``Dataset`` in place of its stacked items."""
    from adamtune.tasks.pytree import map_rows

    return map_rows(_stack, rows) if "torch" in sys.modules else rows


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


def _arrays(parts: list[Any], categories: dict[str, tuple[Any, ...]]) -> list[Any]:
    """The same parts with arrays in place of data frames; a category has one number in all parts."""
    first = parts[0]
    if isinstance(first, dict | tuple | list):
        keys: Any = list(first) if isinstance(first, dict) else range(len(first))
        if any(type(each) is not type(first) or len(each) != len(first) for each in parts):
            raise ValueError("the training, validation and test rows have different structures")
        found = [_arrays([each[key] for each in parts], categories) for key in keys]
        return [_like(first, keys, each) for each in zip(*found, strict=True)] or parts
    if type(first).__module__.partition(".")[0] != "pandas":
        return parts
    if any(type(each) is not type(first) for each in parts):
        raise ValueError("the training, validation and test rows have different types")
    return _frame_arrays(parts, categories)


def _like(first: Any, keys: Sequence[Any], values: Sequence[Any]) -> Any:
    """A container like the first with other values."""
    if isinstance(first, dict):
        return dict(zip(keys, values, strict=True))
    return type(first)(*values) if hasattr(first, "_fields") else type(first)(values)


def _frame_arrays(parts: list[Any], categories: dict[str, tuple[Any, ...]]) -> list[NDArray[Any]]:
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


def _column(column: Any, categories: dict[str, tuple[Any, ...]]) -> NDArray[Any]:
    """One column as numbers ``[rows]``: float32, int64, or the numbers of its categories."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

    column = column.infer_objects()
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(
            f"column {column.name} has {missing} missing values: fill them, or leave those rows out"
        )
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
