"""The data sets: honest splits, training statistics, stable hashes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, make_friedman1

from adamtune.tasks.cnn import DIGITS_ROWS
from adamtune.tasks.data import Data
from adamtune.tasks.datasets import diabetes, digits, friedman1, standardise
from adamtune.tasks.loaded import fingerprint, load_data
from adamtune.tasks.mlp import DIABETES_ROWS
from adamtune.tasks.text import UNKNOWN, python_reference, read

SHAPES: list[tuple[Callable[[], Data], int, int, tuple[int, ...]]] = [
    (diabetes, 353, 89, (10,)),
    (lambda: friedman1(50), 40, 10, (10,)),
    (digits, 1437, 360, (1, 8, 8)),
]
every_table = pytest.mark.parametrize(("load", "train", "validation", "shape"), SHAPES)


@every_table
def test_shapes(load: Callable[[], Data], train: int, validation: int, shape: tuple[int, ...]) -> None:
    split = load()
    for (inputs, target), rows in ((split.train, train), (split.validation, validation)):
        assert inputs.shape == (rows, *shape)
        assert target.shape == (rows,)
        assert inputs.dtype == torch.float32


@every_table
def test_statistics_come_from_the_training_rows_alone(
    load: Callable[[], Data], train: int, validation: int, shape: tuple[int, ...]
) -> None:
    split = load()
    axes = (0,) if len(shape) == 1 else (0, 1, 2, 3)
    inputs = split.train[0]
    torch.testing.assert_close(inputs.mean(axes), torch.zeros_like(inputs.mean(axes)), atol=1e-6, rtol=0)
    torch.testing.assert_close(inputs.std(axes, correction=0), torch.ones_like(inputs.mean(axes)))
    held_out = split.validation[0]
    assert not torch.allclose(held_out.mean(axes), torch.zeros_like(held_out.mean(axes)), atol=1e-4)


def test_validation_is_scaled_by_the_training_rows() -> None:
    train, validation = standardise(np.array([[1.0], [3.0]]), np.array([[7.0]]))
    assert train.flatten().tolist() == [-1, 1]
    assert validation.item() == 5


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
    inputs = torch.cat([split.train[0], split.validation[0]]).flatten(1).double().numpy()
    outputs = torch.cat([split.train[1], split.validation[1]]).double().numpy()
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
    train, validation = (
        labels.bincount() / len(labels) for _, labels in (digits().train, digits().validation)
    )
    torch.testing.assert_close(train, validation, atol=0.003, rtol=0)


def test_row_counts_known_to_the_catalog() -> None:
    for split, rows in ((diabetes(), DIABETES_ROWS), (digits(), DIGITS_ROWS)):
        assert len(split.train[0]) + len(split.validation[0]) == rows


@pytest.mark.parametrize("context", [5, 32, 1024])
def test_text_windows(context: int) -> None:
    """Every window is the piece of text it should be, and the two sides are ``context`` apart."""
    text = python_reference(context)
    (train,), (validation,) = text.train, text.validation
    source, cut = read(), len(read()) * 9 // 10
    ids = {character: i for i, character in enumerate(sorted(set(source[:cut])), 1)}
    encoded = torch.tensor([ids.get(character, UNKNOWN) for character in source])
    assert train.shape == (cut - context, context + 1)
    for start in (0, 12345, cut - context - 1):
        assert torch.equal(train[start], encoded[start : start + context + 1])
    held_out = encoded[cut + context :]
    stride = len(held_out) // len(validation)
    assert stride > context
    assert len(validation) == min(256, len(held_out) // (context + 1))
    for row, window in enumerate(validation):
        assert torch.equal(window, held_out[row * stride : row * stride + context + 1])


def test_text_windows_are_a_view() -> None:
    (train,) = python_reference(32).train
    assert train.untyped_storage().nbytes() < 2 * 8 * len(train)


def test_vocabulary_comes_from_the_training_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamtune.tasks.text.read", lambda: "ab" * 90 + "cb" * 10)
    text = python_reference.__wrapped__(2)
    assert text.vocabulary == 3
    assert text.train[0].unique().tolist() == [1, 2]
    assert text.validation[0].unique().tolist() == [UNKNOWN, 2]


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
    assert hash_of(diabetes()).startswith("d84933f1")
    assert hash_of(digits()).startswith("146ff77c")


def test_fingerprint_sees_type_shape_and_content() -> None:
    base = torch.zeros(2, 3)
    others = [base.int(), base.view(3, 2), base + 1, base[:1]]
    assert len({fingerprint(each) for each in (base, *others)}) == 5
    assert fingerprint(base.t().contiguous().t()) == fingerprint(base)
