"""The files that mlp, cnn and transformer learn: what is made of them, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adamtune.errors import UsageError
from adamtune.tasks.base import training_rows
from adamtune.tasks.cnn import Cnn
from adamtune.tasks.data import Data
from adamtune.tasks.images import read_images
from adamtune.tasks.loaded import Loader
from adamtune.tasks.mlp import Kind, Mlp
from adamtune.tasks.registry import TASKS
from adamtune.tasks.tables import FEW, read_table
from adamtune.tasks.text import read_text

RNG = np.random.RandomState(0)
ROWS = 100
AGES = RNG.randint(18, 80, ROWS)
CITIES = RNG.choice(["Bern", "Paris", "Rome"], ROWS)
TABLE = pd.DataFrame(
    {
        "age": AGES,
        "city": CITIES,
        "member": AGES % 2 == 0,
        "price": AGES * 0.3 + RNG.rand(ROWS),
        "left": np.where(AGES > 45, "yes", "no"),
    }
)


def written(folder: Path, table: pd.DataFrame, suffix: str = ".csv") -> Path:
    path = folder / f"rows{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else table.to_parquet(path)
    return path


def whole(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    parts = (data.train, data.validation, data.test)
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


# Tables


def test_a_table_of_numbers_and_categories_to_classes(tmp_path: Path) -> None:
    data = read_table(written(tmp_path, TABLE), "left", "auto")
    (x, y), (_, validation), (_, test) = data.train, data.validation, data.test
    assert [len(each) for each in (y, validation, test)] == [64, 16, 20]
    assert x.shape == (64, 2 + 3 + 1)  # age, price, three cities, member
    torch.testing.assert_close(x[:, :2].mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(x[:, :2].std(0, correction=0), torch.ones(2))
    assert set(x[:, 2:].unique().tolist()) == {0, 1}
    assert torch.equal(x[:, 2:5].sum(1), torch.ones(64))
    assert y.dtype == torch.int64
    inputs, classes = whole(data)
    assert classes.bincount().tolist() == [(AGES <= 45).sum(), (AGES > 45).sum()]
    # Ages of class yes are all above those of class no, so each row has its own target.
    assert inputs[classes == 0, 0].max() < inputs[classes == 1, 0].min()
    cities = [(name == CITIES).sum() for name in ("Bern", "Paris", "Rome")]
    assert inputs[:, 2:5].sum(0).tolist() == cities


def test_a_number_is_predicted_standardised(tmp_path: Path) -> None:
    data = read_table(written(tmp_path, TABLE[["age", "price"]]), "price", "auto")
    _, y = data.train
    assert y.dtype == torch.float32
    assert y.mean().item() == pytest.approx(0, abs=1e-6)
    assert y.std(correction=0).item() == pytest.approx(1)
    ages, prices = whole(data)
    mean, deviation = 0.3 * AGES.mean(), 0.3 * AGES.std()
    assert np.corrcoef(ages[:, 0], prices)[0, 1] > 0.99
    assert abs(mean) > deviation  # so standardising did something


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    table = TABLE[["age", "price"]].assign(y=TABLE["left"] == "yes")
    if suffix == ".npz":
        path = tmp_path / "rows.npz"
        np.savez(path, X=table[["age", "price"]].to_numpy(), y=table["y"].to_numpy())
    else:
        pytest.importorskip("pyarrow" if suffix == ".parquet" else "pandas")
        path = written(tmp_path, table, suffix)
    x, y = whole(read_table(path, "y", "auto"))
    expected_x, expected_y = whole(read_table(written(tmp_path, table), "y", "auto"))
    assert torch.equal(x, expected_x)
    assert torch.equal(y, expected_y)


def is_class(folder: Path, values: Sequence[Any], kind: Kind = "auto") -> bool:
    table = pd.DataFrame({"x": np.arange(len(values)), "y": values})
    _, target = read_table(written(folder, table), "y", kind).train
    return not target.is_floating_point()


few_examples = settings(max_examples=25)


@few_examples
@example(values=list(range(FEW)))
@example(values=list(range(FEW + 1)))
@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=30, unique=True))
def test_whole_numbers_of_few_values_are_classes(
    values: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    column = np.repeat(values, 10)
    if len(values) == 1:
        with pytest.raises(UsageError, match=rf"target y is {values[0]} in all rows"):
            is_class(folder, column)
        return
    assert is_class(folder, column) == (len(values) <= FEW)
    assert is_class(folder, column, "classification")
    assert not is_class(folder, column, "regression")
    assert not is_class(folder, column + 0.5)


@few_examples
@given(texts=st.lists(st.sampled_from(["a", "b", "c"]), min_size=10, max_size=40))
def test_text_is_classes_in_the_order_of_names(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    counts = {name: texts.count(name) for name in sorted(set(texts))}
    path = written(tmp_path_factory.mktemp("table"), pd.DataFrame({"x": range(len(texts)), "y": texts}))
    if len(counts) == 1 or min(counts.values()) < 3:
        with pytest.raises(UsageError, match=r"in all rows|with less than 3 rows"):
            read_table(path, "y", "auto")
        return
    data = read_table(path, "y", "auto")
    assert whole(data)[1].bincount().tolist() == list(counts.values())
    assert set(data.train[1].tolist()) == set(range(len(counts)))


REFUSED: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str | None, Kind, str]] = {
    "no target": (
        lambda t: t,
        None,
        "auto",
        "give task.target, the column that is predicted; its columns: age",
    ),
    "column": (lambda t: t, "lefft", "auto", "no column lefft; its columns: age, city, member, price, left"),
    "missing": (
        lambda t: t.assign(age=t["age"].where(t.index > 2), city=t["city"].where(t.index > 0)),
        "left",
        "auto",
        "3 of 100 rows have values that are missing, infinite or beyond float32: column age has 3, column"
        " city has 1: fill them, or leave",
    ),
    "missing target": (
        lambda t: t.assign(left=t["left"].where(t.index > 2)),
        "left",
        "auto",
        "column left has 3",
    ),
    "infinite": (
        lambda t: t.assign(age=np.where(t.index == 5, np.inf, 1.0)),
        "left",
        "auto",
        "column age has 1",
    ),
    "large": (lambda t: t.assign(age=np.where(t.index == 5, -1e39, 1.0)), "left", "auto", "column age has 1"),
    "few": (lambda t: t[:9], "left", "auto", "has 9 rows: give at least 10"),
    "one class": (lambda t: t.assign(left="no"), "left", "auto", "target left is no in all rows"),
    "rare": (
        lambda t: t.assign(left=t["left"].where(t.index > 1, "?")),
        "left",
        "auto",
        "target left has 3 classes, 1 of which with less than 3 rows: ? (2): leave these rows out, or join",
    ),
    "numbers": (lambda t: t, "left", "regression", "target left has no numbers: write kind: classification"),
    "constant": (
        lambda t: t.assign(price=1.5),
        "price",
        "auto",
        "target price is 1.5 in all rows: choose",
    ),
    "names": (
        lambda t: pd.concat([t.assign(city=[f"c{i}{j}" for i in range(len(t))]) for j in range(3)]),
        "left",
        "auto",
        "column city has 300 different texts, more than 256: make numbers of it, or leave it out",
    ),
    "alone": (lambda t: t[["left"]], "left", "auto", "has no columns beside the target"),
    "index": (
        lambda t: t.rename(columns={"city": ""}),
        "left",
        "auto",
        "column 2 has no name: name it in the",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_is_refused(name: str, tmp_path: Path) -> None:
    change, target, kind, message = REFUSED[name]
    path = written(tmp_path, change(TABLE))
    with pytest.raises(UsageError) as caught:
        read_table(path, target, kind)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "cannot be read as .csv: No columns to parse"),
        ("x.csv", b"\xff\xfe\x00", "cannot be read as .csv: "),
        ("x.csv", b'a,b\n1,2\n3,"4\n', "cannot be read as .csv: "),
        ("x.npz", b"a,b", "cannot be read as .npz: "),
        ("x.xlsx", b"", "write the data as .csv, .parquet or .npz"),
    ],
)
def test_a_file_that_is_no_table(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_table(path, "b", "auto")
    assert str(caught.value).startswith(f"{path}: {message}")


def test_columns_of_types_that_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    days = pd.date_range("2026-01-01", periods=ROWS)
    for column, values in (("dates", days), ("times", days - days[0])):
        path = written(tmp_path, TABLE.assign(when=values), ".parquet")
        for target in ("left", "when"):
            with pytest.raises(UsageError, match=rf"column when has {column}: make numbers of them, such as"):
                read_table(path, target, "auto")


def test_arrays_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    arrays: list[tuple[dict[str, Any], str]] = [
        ({"X": np.zeros((20, 2))}, "has no array y; its arrays: X"),
        ({"X": np.zeros((20, 2)), "y": np.zeros(19)}, "different numbers of rows: X 20, y 19"),
        ({"X": np.zeros((20, 2, 2)), "y": np.zeros(20)}, "X has the shape (20, 2, 2) and y (20,): give"),
        ({"X": np.zeros((20, 2)), "y": np.array([None] * 20)}, "cannot be read as .npz: Object arrays"),
    ]
    for each, message in arrays:
        np.savez(path, **each)
        with pytest.raises(UsageError) as caught:
            read_table(path, None, "auto")
        assert message in str(caught.value)


def test_a_category_that_only_held_out_rows_have_is_an_input(tmp_path: Path) -> None:
    codes = np.array(["a", "b", "c"])[np.arange(40) % 3].astype(object)
    for row in range(40):
        one = codes.copy()
        one[row] = "only here"
        table = pd.DataFrame({"x": one, "y": np.linspace(0, 1, 40)})
        data = read_table(written(tmp_path, table), "y", "auto")
        assert data.train[0].shape[1] == 4
        assert all(torch.isfinite(each).all() for each in whole(data))


# Images

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((30, 6, 7), (1, 6, 7)),
    ((30, 6, 7, 3), (3, 6, 7)),
    ((30, 3, 6, 7), (3, 6, 7)),
    ((30, 6, 7, 1), (1, 6, 7)),
    ((30, 4, 6, 7), (4, 6, 7)),
]


def images(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("given_shape", "shape"), SHAPES)
def test_arrays_of_images(given_shape: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=images(given_shape), y=np.arange(30) % 3)
    data = read_images(tmp_path / "x.npz", None)
    x, y = data.train
    assert x.shape == (training_rows(30), *shape)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(shape[0]))
    assert whole(data)[1].bincount().tolist() == [10, 10, 10]
    assert y.bincount().tolist() == [6, 6, 6] or sum(y.bincount()) == training_rows(30)


def test_images_stay_beside_their_classes(tmp_path: Path) -> None:
    classes = np.arange(30) % 3
    pictures = np.zeros((30, 4, 4), np.uint8) + 50 * classes[:, None, None].astype(np.uint8)
    np.savez(tmp_path / "x.npz", X=pictures, y=np.array(["c", "a", "b"])[classes])
    x, y = whole(read_images(tmp_path / "x.npz", None))
    means = [x[y == each].unique().item() for each in range(3)]  # a, b, c: 50, 100, 0
    assert means[2] < means[0] < means[1]


def folder_of(path: Path, sizes: dict[str, tuple[int, int]], mode: str = "RGB", count: int = 6) -> Path:
    image = pytest.importorskip("PIL.Image")
    for place, (name, size) in enumerate(sizes.items()):
        (path / name).mkdir(parents=True)
        (path / name / "notes.txt").write_text("no image")
        for number in range(count):
            image.new(mode, size, 60 * place + number).save(path / name / f"{number}.png")
    return path


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_a_folder_of_class_folders(mode: str, channels: int, tmp_path: Path) -> None:
    data = read_images(folder_of(tmp_path / "p", {"dog": (5, 8), "cat": (5, 8)}, mode), None)
    x, y = whole(data)
    assert x.shape == (12, channels, 8, 5)
    assert y.bincount().tolist() == [6, 6]
    assert x[y == 1, 0].max() < x[y == 0, 0].min()  # cats are the second, brighter folder; their class is 0


def test_images_of_several_sizes_are_scaled_if_asked(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "p", {"dog": (5, 8), "cat": (4, 4)})
    with pytest.raises(UsageError, match=r"the images have 2 sizes \(4x4, 8x5\): give task.side"):
        read_images(path, None)
    assert read_images(path, 6).train[0].shape[1:] == (3, 6, 6)


def test_images_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    labels = np.arange(30) % 3
    arrays: list[tuple[NDArray[Any], NDArray[Any], str]] = [
        (
            np.zeros((30, 5, 6, 7)),
            labels,
            "X has the shape (30, 5, 6, 7): give [rows, height, width], or 1, 3",
        ),
        (np.full((30, 6, 6), np.nan), labels, "X has the type float64, or NaN"),
        (np.zeros((9, 6, 6)), labels[:9], "has 9 images: give at least 10"),
        (np.zeros((30, 6, 6)), np.zeros(30), "y is 0.0 in all rows: give rows of at least two classes"),
        (np.zeros((30, 6, 6)), labels[:, None], "y has the shape (30, 1): give one class for each row"),
    ]
    for pictures, classes, message in arrays:
        np.savez(path, X=pictures, y=classes)
        with pytest.raises(UsageError) as caught:
            read_images(path, None)
        assert f"{path}: {message}" in str(caught.value)
    with pytest.raises(UsageError, match="side is for folders"):
        read_images(path, 8)
    pytest.importorskip("PIL")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no folders with images"):
        read_images(tmp_path / "empty", None)
    folder = folder_of(tmp_path / "p", {"dog": (5, 8), "cat": (4, 4)})
    (folder / "dog" / "0.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"dog/0.png: cannot be read as an image"):
        read_images(folder, 4)


@pytest.mark.parametrize(
    ("package", "name", "read", "advice"),
    [
        (
            "pyarrow",
            "x.parquet",
            lambda path: read_table(path, "y", "auto"),
            "pip install pyarrow",
        ),
        ("PIL", "x", lambda path: read_images(path, None), "pip install pillow"),
    ],
)
def test_a_package_that_is_not_installed(
    package: str, name: str, read: Any, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=advice):
        read(tmp_path / name)


# Texts


def test_a_text_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("\ufeffäb" * 500, encoding="utf-8")
    text = read_text(path, 4)
    assert text.vocabulary == 1 + 2 + 1  # unknown, the two letters, and all byte order marks but the first
    path.write_text("ab" * 31, encoding="utf-8")
    with pytest.raises(
        UsageError, match="has 62 characters; context 4 needs at least 63: give a longer text"
    ):
        read_text(path, 4)
    path.write_bytes(b"abc\xff" * 50)
    with pytest.raises(UsageError, match=r"is no text in UTF-8 \(byte 3\)"):
        read_text(path, 4)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_text(tmp_path, 4)


@few_examples
@given(context=st.integers(2, 40), more=st.integers(0, 30))
def test_the_shortest_text_has_rows_in_all_parts(
    context: int, more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_text("x" * (25 * (context + 1) // 2 + 1 + more))
    text = read_text(path, context)
    assert all(len(rows) > 0 for (rows,) in (text.train, text.validation, text.test))


# Tasks


def test_models_fit_the_data(tmp_path: Path) -> None:
    table = written(tmp_path, TABLE)
    np.savez(tmp_path / "x.npz", X=images((30, 9, 6, 3)), y=np.arange(30) % 5)
    for task, shape, outputs in (
        (Mlp(data=table, target="left"), (6,), 2),
        (Mlp(data=table, target="price"), (7 - 1,), 1),
        (Cnn(data=tmp_path / "x.npz", batch_size=8), (3, 9, 6), 5),
    ):
        loaded = Loader().load(task)
        assert loaded.build()(torch.zeros(2, *shape)).shape == (2, outputs)
        directions = {*task.metric_directions()}
        reported = {name.removeprefix("val_") for name in loaded.scores(loaded.build(), loaded.validation)}
        assert reported - {"loss"} <= directions


def test_images_that_are_too_small_for_the_convolutions(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=images((30, 6, 20)), y=np.arange(30) % 5)
    task = Cnn(data=tmp_path / "x.npz", channels=(2, 2, 2), batch_size=8)
    with pytest.raises(UsageError, match="images of 6x20 allow 2 convolutions, found 3 channels"):
        task.model()


def test_accuracy_of_classes(tmp_path: Path) -> None:
    loaded = Loader().load(Mlp(data=written(tmp_path, TABLE), target="left"))
    labels = loaded.validation[1]
    guess = torch.nn.functional.one_hot(torch.zeros_like(labels), 2).float()
    found = loaded.scores(lambda _: guess, loaded.validation)
    assert found.keys() == {"val_loss", "val_accuracy"}
    assert found["val_accuracy"].item() == pytest.approx((labels == 0).float().mean().item())


@pytest.mark.parametrize(
    ("given_settings", "metrics"),
    [
        ({}, ["r2"]),
        ({"data": "x.csv"}, ["r2", "accuracy"]),
        ({"data": "x.csv", "kind": "regression"}, ["r2"]),
        ({"data": "x.csv", "kind": "classification"}, ["accuracy"]),
    ],
)
def test_metrics_depend_on_the_settings(given_settings: dict[str, Any], metrics: list[str]) -> None:
    expected = ["val_loss", *(f"val_{each}" for each in metrics), "train_loss"]
    assert list(TASKS["mlp"].metrics_with(given_settings)) == expected


def test_a_model_has_the_data_that_the_study_loaded(tmp_path: Path) -> None:
    """Even if the file has changed since."""
    path = written(tmp_path, TABLE)
    loader = Loader()
    loaded = loader.load(Mlp(data=path, target="left"))
    path.unlink()
    wider = loader.load(Mlp(data=path, target="left", hidden=(3,)))
    assert wider.task.loaded_data is loaded.task.loaded_data
    assert next(wider.build().parameters()).shape == (3, 6)


def test_the_same_content_has_the_same_hash(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    hashes = []
    for folder, table in (
        (tmp_path, TABLE),
        (tmp_path / "other", TABLE),
        (tmp_path / "other", TABLE.assign(age=TABLE["age"] ** 2)),
    ):
        hashes.append(Loader().load(Mlp(data=written(folder, table), target="left")).data_hash)
    assert hashes[0] == hashes[1] != hashes[2]
