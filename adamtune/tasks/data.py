"""The training, validation and test rows of a task, given or split from one set. Torch-free to import."""

from __future__ import annotations

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

    All of them become tensors.

    Attributes:
        train: the rows that models are trained with.
        validation: the rows that trials are compared with.
        test: rows that the search never looks at, if there are any.
        categories: by column of a data frame, the categories in the order of their numbers.

    Raises:
        ValueError: a split has no rows, its arrays have different numbers of rows, an array has no numbers or
            some that are not finite, or the splits have different structures.
    """

    train: Any
    validation: Any
    test: Any = None
    categories: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        from adamtune.tasks.conversion import tensors

        names = ("train", "validation", "test")[: 2 if self.test is None else 3]
        found, categories = tensors({name: getattr(self, name) for name in names})
        for name, value in {**found, "categories": {**self.categories, **categories}}.items():
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
        from adamtune.tasks.conversion import tensors
        from adamtune.tasks.pytree import count_rows, take_rows

        found, categories = tensors({"rows": rows[0] if len(rows) == 1 else rows})
        count = count_rows(found["rows"])
        given = {"stratify": stratify, "groups": groups, "time": time}
        keys = {name: _key(name, each, count) for name, each in given.items() if each is not None}
        parts = _split(count, validation, test, seed, keys)
        return cls(*(take_rows(found["rows"], part) for part in parts), categories=categories)


def _key(name: str, values: ArrayLike, count: int) -> NDArray[Any]:
    """The values of a keyword of ``split`` as an array ``[rows]``. Raises ValueError for any other shape."""
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"{name} has the shape {array.shape}: give one value for each of the {count} rows")
    if (array != array.copy()).any():  # NaN and NaT are unequal to themselves
        raise ValueError(f"{name} has missing values")
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
