"""Reads a user's table: standardised columns, and a target to be predicted as a number or as a class."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from adamtune.errors import UsageError
from adamtune.tasks.data import Data
from adamtune.tasks.datasets import shuffle_split, standardise

if TYPE_CHECKING:
    import pandas as pd

    from adamtune.tasks.mlp import Kind

LEAST_ROWS = 10
FEW = 20
"""The most different whole numbers that are classes, unless the study says otherwise."""
LEAST_OF_CLASS = 3
"""Rows of a class; with fewer, a class may have none for training."""
MOST_CATEGORIES = 256
"""The most categories of one column, each of which becomes an input."""
LARGEST = float(np.finfo(np.float32).max)
NOT_READ = {
    "m": "times: make numbers of them, such as days",
    "M": "dates: make numbers of them, such as days",
    "c": "complex numbers: give their parts as two columns",
}
"""What stands in columns of some types of NumPy, and what to do."""
SHOWN = 8
"""Names that a message lists at most."""


def read_table(path: Path, target: str | None, kind: Kind) -> Data:
    """Rows ``(inputs [rows, inputs], target [rows])``: the target is float32, or int64 of classes.

    Numbers are standardised by the training rows, a number to be predicted, too. A column of two categories
    becomes one input of 0 and 1, one of more categories an input for each. Classes are in the order of their
    names.

    Args:
        path: a ``.csv``, ``.parquet`` or ``.npz`` file.
        target: the column that is predicted; in an ``.npz`` file the array, by default ``y``.
        kind: what the target is. ``auto``: classes if it is text, categories, truth values, or whole numbers
            of at most ``FEW`` different values; else a number.

    Raises:
        UsageError: the file is not as above; the message names it and the column.
    """
    table, name = _arrays_table(path, target) if path.suffix == ".npz" else _table(path, target)
    table = table.infer_objects()
    _check_table(path, table)
    column, inputs = table[name], table.drop(columns=name)
    numbers, flags = _inputs(path, inputs)
    if _is_class(column, kind):
        classes = class_numbers(path, f"target {name}", column.to_numpy())
        x, z, y = shuffle_split(numbers, flags, classes, stratify=classes)
        targets = [torch.from_numpy(each) for each in y]
    else:
        x, z, y = shuffle_split(numbers, flags, _number_target(path, column))
        targets = standardise(y)
    inputs_of = [torch.cat([a, torch.from_numpy(b)], 1) for a, b in zip(standardise(x), z, strict=True)]
    return Data(*zip(inputs_of, targets, strict=True))


def read_arrays(path: Path, names: Collection[str]) -> list[NDArray[Any]]:
    """The arrays of an ``.npz`` file. Raises UsageError if one is not there."""
    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in names if name not in file.files]
            if lacking:
                raise UsageError(
                    f"{path}: has no array {' or '.join(lacking)}; its arrays: {listed(file.files)}"
                )
            found = [file[name] for name in names]
    except (OSError, ValueError, TypeError, AttributeError, BadZipFile) as error:
        raise UsageError(f"{path}: cannot be read as .npz: {error}") from error
    counts = [len(each) if each.ndim else 0 for each in found]
    if len(set(counts)) > 1:
        told = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
        raise UsageError(f"{path}: the arrays have different numbers of rows: {told}")
    return found


def class_numbers(path: Path, place: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each row's class ``[rows]``.

    Args:
        path: the file, for messages.
        place: what the labels are, for messages.
        labels: ``[rows]``, of any type.

    Raises:
        UsageError: there is one class alone, or one of less than ``LEAST_OF_CLASS`` rows.
    """
    if labels.ndim != 1:
        raise UsageError(f"{path}: {place} has the shape {labels.shape}: give one class for each row")
    known = labels.astype(str) if labels.dtype == object else labels
    names, numbers, counts = np.unique(known, return_inverse=True, return_counts=True)
    if len(names) == 1:
        raise UsageError(f"{path}: {place} is {names[0]} in all rows: give rows of at least two classes")
    rare = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < LEAST_OF_CLASS]
    if rare:
        raise UsageError(
            f"{path}: {place} has {len(names)} classes, {len(rare)} of which with less than"
            f" {LEAST_OF_CLASS} rows: {listed(rare)}: leave these rows out, or join classes"
        )
    return numbers.astype(np.int64)


def listed(names: Collection[object]) -> str:
    """Names in one line; the first ``SHOWN`` if there are more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, list(names)[:SHOWN])) + more


def _table(path: Path, target: str | None) -> tuple[pd.DataFrame, str]:
    """The table of a ``.csv`` or ``.parquet`` file, and the name of its target."""
    import pandas as pd

    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path, low_memory=False)
        elif path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            raise UsageError(f"{path}: write the data as .csv, .parquet or .npz")
    except ImportError as error:
        raise UsageError(f"{path}: .parquet files need pyarrow: pip install pyarrow") from error
    except (OSError, ValueError) as error:  # of which pandas' and pyarrow's own are derived
        first = str(error).strip().partition("\n")[0]
        raise UsageError(f"{path}: cannot be read as {path.suffix}: {first}") from error
    table.columns = table.columns.map(str)
    columns = list(table.columns)
    unnamed = [name for name in columns if name.startswith("Unnamed: ")]
    if unnamed:
        raise UsageError(
            f"{path}: column {columns.index(unnamed[0]) + 1} has no name: name it in the first line, or"
            " leave it out (pandas writes row numbers so, unless to_csv has index=False)"
        )
    if target is None or target not in columns:
        said = "give task.target, the column that is predicted" if target is None else f"no column {target}"
        raise UsageError(f"{path}: {said}; its columns: {listed(columns)}")
    return table, target


def _arrays_table(path: Path, target: str | None) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    name = target or "y"
    inputs, values = read_arrays(path, ["X", name])
    if inputs.ndim != 2 or values.ndim != 1:
        raise UsageError(
            f"{path}: X has the shape {inputs.shape} and {name} {values.shape}: give [rows, columns] and"
            " [rows]"
        )
    table = pd.DataFrame(inputs, columns=[f"X[:, {column}]" for column in range(inputs.shape[1])])
    return table.assign(**{name: values}), name


def _check_table(path: Path, table: pd.DataFrame) -> None:
    """Raises UsageError if there are too few rows, or columns of a type or with values that are not read."""
    for name, column in table.items():
        if column.dtype.kind in NOT_READ:
            raise UsageError(f"{path}: column {name} has {NOT_READ[column.dtype.kind]}, or leave it out")
    if len(table) < LEAST_ROWS:
        raise UsageError(f"{path}: has {len(table)} rows: give at least {LEAST_ROWS}")
    wrong, numbers = table.isna(), table.select_dtypes("number")
    wrong[numbers.columns] |= (numbers.abs() > LARGEST).fillna(False)
    counts = wrong.sum()
    if counts.any():
        told = listed([f"column {name} has {count}" for name, count in counts[counts > 0].items()])
        raise UsageError(
            f"{path}: {wrong.any(axis=1).sum()} of {len(table)} rows have values that are missing, infinite"
            f" or beyond float32: {told}: fill them, or leave those rows out"
        )


def _inputs(path: Path, table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The numbers ``[rows, numbers]`` of a table, and its categories as 0 and 1 ``[rows, categories]``."""
    import pandas as pd

    numbers, flags = [np.empty((len(table), 0))], [np.empty((len(table), 0), np.float32)]
    for name, column in table.items():
        if _is_number(column):
            numbers.append(column.to_numpy(np.float64)[:, None])
            continue
        categories = pd.Categorical(column.astype(str)).codes
        count = int(categories.max()) + 1
        if count > MOST_CATEGORIES:
            raise UsageError(
                f"{path}: column {name} has {count:,} different texts, more than {MOST_CATEGORIES}: make"
                " numbers of it, or leave it out"
            )
        first = 1 if count == 2 else 0
        flags.append((categories[:, None] == np.arange(first, count)).astype(np.float32))
    if table.shape[1] == 0:
        raise UsageError(f"{path}: has no columns beside the target: give inputs, separated by commas")
    return np.concatenate(numbers, 1), np.concatenate(flags, 1)


def _is_number(column: pd.Series[Any]) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _is_class(column: pd.Series[Any], kind: Kind) -> bool:
    from pandas.api.types import is_integer_dtype

    if kind != "auto":
        return kind == "classification"
    return not _is_number(column) or (is_integer_dtype(column) and column.nunique() <= FEW)


def _number_target(path: Path, column: pd.Series[Any]) -> NDArray[np.float64]:
    """The numbers to be predicted ``[rows]``. Raises UsageError if they are none, or all the same."""
    if not _is_number(column):
        raise UsageError(f"{path}: target {column.name} has no numbers: write kind: classification")
    if column.nunique() == 1:
        raise UsageError(f"{path}: target {column.name} is {column.iloc[0]} in all rows: choose another")
    return np.asarray(column, np.float64)
