"""The data sets: honest splits, training statistics, stable hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits, make_friedman1

from adamtune.tasks.base import training_rows
from adamtune.tasks.cnn import DIGITS_ROWS
from adamtune.tasks.data import Data
from adamtune.tasks.datasets import diabetes, digits, friedman1, shuffle_split, standardise
from adamtune.tasks.loaded import fingerprint, load_data
from adamtune.tasks.mlp import DIABETES_ROWS
from adamtune.tasks.text import UNKNOWN, python_reference, read, windows

SHAPES: list[tuple[Callable[[], Data], list[int], tuple[int, ...]]] = [
    (diabetes, [282, 71, 89], (10,)),
    (lambda: friedman1(50), [32, 8, 10], (10,)),
    (digits, [1149, 288, 360], (1, 8, 8)),
]
every_table = pytest.mark.parametrize(("load", "sizes", "shape"), SHAPES)


def parts(data: Data) -> list[Any]:
    return [data.train, data.validation, data.test]


@every_table
def test_shapes(load: Callable[[], Data], sizes: list[int], shape: tuple[int, ...]) -> None:
    for (inputs, target), rows in zip(parts(load()), sizes, strict=True):
        assert inputs.shape == (rows, *shape)
        assert target.shape == (rows,)
        assert inputs.dtype == torch.float32


@every_table
def test_statistics_come_from_the_training_rows_alone(
    load: Callable[[], Data], sizes: list[int], shape: tuple[int, ...]
) -> None:
    split = load()
    axes = (0,) if len(shape) == 1 else (0, 1, 2, 3)
    inputs = split.train[0]
    torch.testing.assert_close(inputs.mean(axes), torch.zeros_like(inputs.mean(axes)), atol=1e-6, rtol=0)
    torch.testing.assert_close(inputs.std(axes, correction=0), torch.ones_like(inputs.mean(axes)))
    for held_out, _ in (split.validation, split.test):
        assert not torch.allclose(held_out.mean(axes), torch.zeros_like(held_out.mean(axes)), atol=1e-4)


def test_all_parts_are_scaled_by_the_training_rows() -> None:
    train, validation, test = standardise([np.array([[1.0], [3.0]]), np.array([[7.0]]), np.array([[2.0]])])
    assert train.flatten().tolist() == [-1, 1]
    assert (validation.item(), test.item()) == (5, 0)


@given(st.floats(-1e30, 1e30), st.integers(2, 50))
def test_a_constant_column_becomes_zero(value: float, rows: int) -> None:
    for part in standardise([np.full((rows, 1), value), np.full((1, 1), value), np.zeros((1, 1))]):
        assert not part.any()


@given(st.lists(st.integers(0, 4), min_size=5, max_size=200))
def test_a_split_has_every_row_once_and_every_label_in_the_training_rows(labels: list[int]) -> None:
    rows = np.arange(len(labels))
    (found, target) = shuffle_split(rows, np.array(labels), stratify=np.array(labels))
    assert sorted(np.concatenate(found)) == list(rows)
    assert [np.array(labels)[each].tolist() for each in found] == [each.tolist() for each in target]
    assert len(found[0]) == training_rows(len(labels))
    assert len(found[2]) == -(-len(labels) // 5)
    for label in {each for each in labels if labels.count(each) >= 3}:
        shares = [(each == label).sum() for each in target]
        assert shares[0] > 0
        assert abs(shares[2] - labels.count(label) / 5) <= 1
        assert abs(shares[1] - labels.count(label) * 4 / 25) <= 2


@pytest.mark.parametrize(
    ("load", "source"),
    [
        (diabetes, lambda: load_diabetes(return_X_y=True, scaled=False)),
        (lambda: friedman1(50), lambda: make_friedman1(50, noise=1.0, random_state=0)),
        (digits, lambda: load_digits(return_X_y=True)),
    ],
    ids=["diabetes", "friedman1", "digits"],
)
def test_every_row_lies_in_exactly_one_part_beside_its_target(
    load: Callable[[], Data], source: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> None:
    """Standardised and raw rows are the same once each column is rescaled to [0, 1]."""
    split, (features, target) = load(), source()
    inputs = torch.cat([each for each, _ in parts(split)]).flatten(1).double().numpy()
    outputs = torch.cat([each for _, each in parts(split)]).double().numpy()
    found, expected = (
        np.unique(np.column_stack([_rescaled(x), _rescaled(y[:, None])]).round(4), axis=0, return_counts=True)
        for x, y in ((inputs, outputs), (features, target))
    )
    np.testing.assert_allclose(found[0], expected[0], atol=2e-4)
    np.testing.assert_array_equal(found[1], expected[1])


def _rescaled(columns: np.ndarray) -> np.ndarray:
    low, high = columns.min(), columns.max()
    if columns.shape[1] == 10:
        low, high = columns.min(0), columns.max(0)
    return (columns - low) / (high - low)


def test_digits_are_stratified() -> None:
    train, *held_out = (labels.bincount() / len(labels) for _, labels in parts(digits()))
    for each in held_out:
        torch.testing.assert_close(train, each, atol=0.004, rtol=0)


def test_row_counts_known_to_the_catalog() -> None:
    for split, rows in ((diabetes(), DIABETES_ROWS), (digits(), DIGITS_ROWS)):
        assert sum(len(each) for each, _ in parts(split)) == rows


@pytest.mark.parametrize("context", [5, 32, 1024])
def test_text_windows(context: int) -> None:
    """Every window is the piece of text it should be, and the parts are ``context`` apart."""
    text = python_reference(context)
    (train,) = text.train
    source, cut, last = read(), len(read()) * 64 // 100, len(read()) * 80 // 100
    ids = {character: i for i, character in enumerate(sorted(set(source[:cut])), 1)}
    encoded = torch.tensor([ids.get(character, UNKNOWN) for character in source])
    assert train.shape == (cut - context, context + 1)
    for start in (0, 12345, cut - context - 1):
        assert torch.equal(train[start], encoded[start : start + context + 1])
    pieces = encoded[cut + context : last], encoded[last + context :]
    for held_out, (rows,) in zip(pieces, (text.validation, text.test), strict=True):
        stride = len(held_out) // len(rows)
        assert stride > context
        assert len(rows) == min(256, len(held_out) // (context + 1))
        for row, window in enumerate(rows):
            assert torch.equal(window, held_out[row * stride : row * stride + context + 1])


def test_text_windows_are_a_view() -> None:
    (train,) = python_reference(32).train
    assert train.untyped_storage().nbytes() < 2 * 8 * len(train)


def test_vocabulary_comes_from_the_training_part() -> None:
    text = windows("ab" * 64 + "cb" * 16 + "dd" * 20, 2)
    assert text.vocabulary == 3
    assert text.train[0].unique().tolist() == [1, 2]
    assert text.validation[0].unique().tolist() == [UNKNOWN, 2]
    assert text.test[0].unique().tolist() == [UNKNOWN]


def hash_of(data: Data) -> str:
    return load_data(data, {}).hash


def test_hashes_are_stable_and_tell_data_apart() -> None:
    loads: list[Callable[[], Data]] = [
        diabetes.__wrapped__,
        digits.__wrapped__,
        lambda: friedman1.__wrapped__(50),
        lambda: friedman1.__wrapped__(60),
        lambda: python_reference.__wrapped__(5),
    ]
    first, second = ([hash_of(load()) for load in loads] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(loads)


def test_the_known_hashes() -> None:
    """Studies kept with these hashes are refused when the data change: do not change them lightly."""
    assert hash_of(diabetes()).startswith("9d4b75ae")
    assert hash_of(digits()).startswith("af056744")


def test_fingerprint_sees_type_shape_and_content() -> None:
    base = torch.zeros(2, 3)
    others = [base.int(), base.view(3, 2), base + 1, base[:1]]
    assert len({fingerprint(each) for each in (base, *others)}) == 5
    assert fingerprint(base.t().contiguous().t()) == fingerprint(base)
