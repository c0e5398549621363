"""Rows as users give them: what they become, how they are split, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from adamtune import Data
from adamtune.tasks.pytree import leaves

ROWS = 50
NUMBERS = np.arange(ROWS, dtype=np.float64)


class Pair(NamedTuple):
    left: Any
    right: Any


class Squares(Dataset[tuple[torch.Tensor, int]]):
    """Item i is ``([i, i * i], i % 3)``."""

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([index, index * index], dtype=torch.float32), index % 3


def given_rows(rows: Any) -> Any:
    """The training rows of data that are given these rows twice."""
    return Data(train=rows, validation=rows).train


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (NUMBERS, torch.float32),
        (NUMBERS.astype(np.float16), torch.float32),
        (NUMBERS.astype(np.int32), torch.int64),
        (NUMBERS.astype(np.uint8), torch.int64),
        (NUMBERS.astype(">i4"), torch.int64),
        (NUMBERS > 3, torch.bool),
        (NUMBERS * 1j, torch.complex64),
        (torch.arange(5.0, dtype=torch.float64), torch.float32),
        (torch.arange(5, dtype=torch.uint8), torch.uint8),
        (torch.arange(5.0, dtype=torch.float16), torch.float16),
        (pd.Series([1, 2]), torch.int64),
        (pd.Series([1.5, 2]), torch.float32),
        (pd.Series(["a", "b"]), torch.int64),
        (pd.Series([True, False]), torch.int64),
        (pd.DataFrame({"x": [1, 2]}), torch.float32),
    ],
)
def test_types(array: Any, dtype: torch.dtype) -> None:
    found = given_rows(array)
    assert found.dtype == dtype
    numeric = np.asarray(pd.Categorical(array).codes if getattr(array, "dtype", 0) == "str" else array)
    np.testing.assert_array_equal(found.numpy(), numeric.reshape(found.shape).astype(found.numpy().dtype))


def test_the_structure_is_kept() -> None:
    rows = {"pair": Pair(NUMBERS, [NUMBERS]), "single": torch.zeros(ROWS, 2)}
    found = given_rows(rows)
    assert type(found["pair"]) is Pair
    assert type(found["pair"].right) is list
    assert torch.equal(found["pair"].left, torch.arange(float(ROWS)))


def test_a_memory_mapped_file_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.float32).reshape(6, 2))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert given_rows(mapped).data_ptr() == mapped.ctypes.data


def test_a_frame_of_mixed_columns_is_one_array_with_numbers_of_categories() -> None:
    table = pd.DataFrame(
        {"age": [30, 40, 50], "plan": ["gold", "basic", "gold"], "left": [True, False, True]}
    )
    data = Data(train=table[:2], validation=table[2:])
    assert data.train.tolist() == [[30, 1, 1], [40, 0, 0]]
    assert data.validation.tolist() == [[50, 1, 1]]
    assert data.categories == {"plan": ("basic", "gold"), "left": (False, True)}


def test_a_category_of_one_split_has_its_number_in_all() -> None:
    data = Data(train=pd.Series(["b", "c"], name="x"), validation=pd.Series(["a"], name="x"))
    assert (data.train.tolist(), data.validation.tolist()) == ([1, 2], [0])
    assert data.categories == {"x": ("a", "b", "c")}


def test_categories_keep_the_order_that_the_frame_gives_them() -> None:
    sizes = pd.Categorical(["large", "small"], categories=["small", "large"], ordered=True)
    assert given_rows(pd.DataFrame({"size": sizes})).tolist() == [[1], [0]]


@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: Subset(each, range(ROWS))])
def test_a_dataset_is_stacked(wrap: Callable[[Squares], Dataset[Any]]) -> None:
    inputs, target = given_rows(wrap(Squares()))
    assert (inputs.shape, inputs.dtype, target.dtype) == ((ROWS, 2), torch.float32, torch.int64)
    assert inputs[7].tolist() == [7, 49]
    assert target[7] == 1


def test_the_tensors_of_a_tensor_dataset_are_used_as_they_are() -> None:
    tensor = torch.rand(6, 2)
    assert given_rows(TensorDataset(tensor))[0].data_ptr() == tensor.data_ptr()


class Endless(IterableDataset[int]):
    """A stream."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


class Ragged(Squares):
    """Items of different lengths."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(index), 0


def missing(value: float) -> Any:
    table = pd.DataFrame({"x": [1.0, 2.0], "age": [1.0, value]})
    return table


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array(["a", "b"]), "train has the type <U1: give numbers, or a data frame with categories"),
        (np.array([{}, None]), "train has the type object"),
        (np.array(["2020-01-01"], dtype="datetime64[s]"), "train has the type datetime64"),
        ((NUMBERS, "abc"), r"train\[1\] is of type str: give a tensor, an array or a data frame"),
        ({"x": None}, r"train\['x'\] is of type NoneType"),
        ([1.0, 2.0], r"train\[0\] is of type float"),
        (np.float64(3), "train is of type float64"),
        (torch.tensor(3.0), "train is one number"),
        ((NUMBERS, NUMBERS[1:]), "train: the arrays have different numbers of rows: 49, 50"),
        (NUMBERS[:0], "train: there are no rows"),
        ((), "train: there are no rows"),
        (np.array([[1, 2], [3, np.nan]]), r"train: 1 of 4 numbers are NaN.* first \(nan\) at \[1, 1\]"),
        ((NUMBERS, np.array([np.inf] * ROWS)), r"train\[1\]: 50 of 50 numbers are NaN, infinite"),
        (np.array([1e300]), r"beyond float32, the first \(inf\) at \[0\]"),
        (torch.tensor([1.0, float("nan")]), "1 of 2 numbers are NaN"),
        (missing(np.nan), "column age has 2 missing values: fill them, or drop those rows"),
        (missing(np.inf), r"train: 1 of 4 numbers are NaN, infinite"),
        (pd.DataFrame({"plan": ["a", None]}), "column plan has 2 missing values"),
        (pd.DataFrame({"day": pd.to_datetime(["2020-01-01"])}), "column day has dates"),
        (pd.DataFrame(index=[1, 2]), "a data frame has no columns"),
        (Endless(), "Endless is an iterable data set"),
        (Ragged(), "the items of Ragged cannot be stacked: stack expects each tensor to be equal size"),
    ],
)
def test_what_is_refused(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given_rows(rows)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((NUMBERS,), "different structures"),
        ({"x": NUMBERS, "z": NUMBERS}, "different structures"),
        ({"x": NUMBERS, "y": NUMBERS[:0]}, "validation: the arrays have different numbers"),
        ({"x": NUMBERS[:0], "y": NUMBERS[:0]}, "validation: there are no rows"),
    ],
)
def test_splits_that_do_not_fit_together(validation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Data(train={"x": NUMBERS, "y": NUMBERS}, validation=validation)


def test_columns_that_differ() -> None:
    with pytest.raises(ValueError, match="different columns"):
        Data(train=pd.DataFrame({"a": [1]}), validation=pd.DataFrame({"b": [1]}))


# Splits


def numbers(part: Any) -> list[int]:
    return [int(each) for each in next(leaves(part))]


@given(
    rows=st.integers(3, 200),
    validation=st.one_of(st.floats(0.01, 0.45), st.integers(1, 1)),
    test=st.one_of(st.none(), st.floats(0.01, 0.45), st.just(1)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_in_one_part_beside_its_others(
    rows: int, validation: float, test: float | None, seed: int
) -> None:
    x = np.arange(rows)
    data = Data.split(x, {"double": 2 * x}, validation=validation, test=test, seed=seed)
    parts = [data.train, data.validation, *([] if data.test is None else [data.test])]
    assert len(parts) == 2 + (test is not None)
    assert sorted(each for part in parts for each in numbers(part)) == list(range(rows))
    assert all(torch.equal(2 * part[0], part[1]["double"]) for part in parts)
    wanted = validation if validation == 1 else max(1, round(validation * rows))
    assert len(numbers(data.validation)) == wanted


def test_a_split_follows_from_its_seed() -> None:
    first, again, other = (numbers(Data.split(NUMBERS, seed=seed).validation) for seed in (0, 0, 1))
    assert first == again != other


def test_the_test_rows_do_not_depend_on_the_validation_rows() -> None:
    one, other = (Data.split(NUMBERS, validation=part, test=0.2).test for part in (0.1, 0.4))
    assert numbers(one) == numbers(other)


def test_stratified() -> None:
    labels = np.repeat([0, 1], [40, 10])
    data = Data.split(NUMBERS, labels, validation=0.2, test=0.2, stratify=labels)
    for part, count in ((data.train, 6), (data.validation, 2), (data.test, 2)):
        assert int(part[1].sum()) == count


def test_groups_stay_together() -> None:
    groups = [f"patient {index // 5}" for index in range(ROWS)]
    data = Data.split(NUMBERS, validation=0.3, test=2, groups=groups)
    parts = [{each // 5 for each in numbers(part)} for part in (data.train, data.validation, data.test)]
    assert [len(each) for each in parts] == [5, 3, 2]
    assert set.union(*parts) == set(range(10))


def test_parts_follow_each_other_in_time() -> None:
    data = Data.split(NUMBERS, validation=10, test=5, time=pd.date_range("2020", periods=ROWS)[::-1])
    assert sorted(numbers(data.test)) == list(range(5))
    assert sorted(numbers(data.validation)) == list(range(5, 15))


def test_a_split_of_a_frame_keeps_its_categories() -> None:
    table = pd.DataFrame({"plan": ["a", "b"] * 10, "left": ["no", "yes"] * 10})
    data = Data.split(table[["plan"]], table["left"], validation=0.5)
    assert data.categories == {"plan": ("a", "b"), "left": ("no", "yes")}
    assert torch.equal(data.train[0][:, 0], data.train[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0}, "validation is 0: give a part between 0 and 1"),
        ({"validation": 1.5}, "validation is 1.5"),
        ({"test": 0.0}, "test is 0.0"),
        ({"validation": 0.5, "test": 0.5}, r"25 \+ 25 of 50 rows leave none for training"),
        ({"validation": 50}, "50 of 50 rows leave none"),
        ({"stratify": [1, 2]}, r"stratify has the shape \(2,\): give one value for each of the 50 rows"),
        ({"stratify": [0] * 49 + [1]}, "cannot be split by stratify: The least populated class"),
        ({"groups": [0] * ROWS}, "1 of 1 groups leave none"),
        ({"groups": [0] * ROWS, "time": NUMBERS}, "groups and time are both given: give one"),
        ({"time": [np.nan] * ROWS}, "time has missing values"),
    ],
)
def test_splits_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Data.split(NUMBERS, **options)
