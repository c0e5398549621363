"""Searches of the reference tasks on a user's files, through the whole program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from adamtune.storage.studies import list_studies

from .studies import Adamtune

RNG = np.random.RandomState(0)
TABLE = pd.DataFrame({"a": RNG.rand(60), "b": RNG.choice(["x", "y", "z"], 60), "n": RNG.rand(60)})
TABLE["c"] = np.where(TABLE["a"] > 0.5, "yes", "no")


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    TABLE.to_csv(folder / "rows.csv", index=False)
    np.savez(folder / "rows.npz", X=TABLE[["a", "n"]].to_numpy(), y=np.arange(60) % 3)
    np.savez(
        folder / "images.npz", X=RNG.randint(0, 255, (40, 6, 6, 3)).astype(np.uint8), y=np.arange(40) % 2
    )
    (folder / "text.txt").write_text("To be, or not to be, that is the question. " * 40)


def write(folder: Path, task: dict[str, Any], **changed: Any) -> Path:
    document = {
        "name": "s",
        "storage": str(folder / "studies.db"),
        "task": task,
        "space": {"lr": [0.01, 0.02]},
        "search": {"trials": 2},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(document | changed))
    return path


def reported(adamtune: Adamtune, folder: Path) -> list[dict[str, Any]]:
    code, out, err = adamtune("report", "s", "--storage", folder / "studies.db", "--format", "json")
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)["trials"]
    return found


MLP = {"name": "mlp", "hidden": [4], "epochs": 2, "batch_size": 8}
CNN = {"name": "cnn", "channels": [2, 2], "hidden": 4, "epochs": 2, "batch_size": 8}
TRANSFORMER = {"name": "transformer", "d_model": 8, "layers": 1, "context": 8, "steps": 5}
SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "csv, classes": ({**MLP, "data": "files/rows.csv", "target": "c"}, "val_accuracy"),
    "csv, number": ({**MLP, "data": "files/rows.csv", "target": "n"}, "val_r2"),
    "parquet": ({**MLP, "data": "files/rows.parquet", "target": "c"}, "val_accuracy"),
    "npz": ({**MLP, "data": "files/rows.npz"}, "val_accuracy"),
    "images": ({**CNN, "data": "files/images.npz"}, "val_accuracy"),
    "folder of images": ({**CNN, "data": "files/photos", "side": 6}, "val_accuracy"),
    "text": ({**TRANSFORMER, "data": "files/text.txt"}, "val_bpc"),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_every_format(name: str, adamtune: Adamtune, tmp_path: Path) -> None:
    task, metric = SEARCHES[name]
    if name == "parquet":
        pytest.importorskip("pyarrow")
        TABLE.to_parquet(tmp_path / task["data"])
    if name == "folder of images":
        image = pytest.importorskip("PIL.Image")
        for number in range(20):
            path = tmp_path / task["data"] / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.new("RGB", (7, 9), 10 * number).save(path)
    study = write(tmp_path, task, objective={"metric": metric})
    code, out, err = adamtune("validate", study)
    assert (code, err) == (0, "")
    assert metric in out.split("metrics", 1)[1].split("\n")[0]
    assert str(tmp_path / task["data"]) in out
    code, _, err = adamtune("search", study)
    assert code == 0, err
    assert "at a time" in err
    found = reported(adamtune, tmp_path)
    assert [each["state"] for each in found] == ["complete"] * 2
    assert found[0]["metrics"].keys() == {"val_loss", metric, "train_loss"}


def test_engines_agree_on_classes(adamtune: Adamtune, tmp_path: Path) -> None:
    values = []
    for engine in ("population", "sequential"):
        (tmp_path / engine).mkdir()
        task = {**MLP, "data": "../files/rows.csv", "target": "c"}
        assert adamtune("search", write(tmp_path / engine, task, engine=engine)).code == 0
        values.append([each["value"] for each in reported(adamtune, tmp_path / engine)])
    assert values[1] == pytest.approx(values[0], rel=1e-5)


def test_it_is_resumed_from_another_folder_without_its_study_file(
    adamtune: Adamtune,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = write(
        tmp_path, {**MLP, "data": "files/rows.csv", "target": "c"}, space={"lr": [0.1, 0.2, 0.3, 0.4]}
    )
    assert adamtune("search", study).code == 0
    study.unlink()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    resume = ("resume", "s", "--storage", tmp_path / "studies.db", "--trials", "3")
    assert adamtune(*resume).code == 0
    assert len(reported(adamtune, tmp_path)) == 3
    file = tmp_path / "files" / "rows.csv"
    TABLE.assign(a=TABLE["a"] ** 2).to_csv(file, index=False)
    code, out, err = adamtune(*resume[:-1], "4")
    assert (code, out) == (3, "")
    assert f"Put the old {file} back, or start a new study" in " ".join(err.split())
    file.unlink()
    code, out, err = adamtune(*resume[:-1], "4")
    assert (code, out) == (2, "")
    assert f"{file}: no such file: put it back, or start a new study" in " ".join(err.split())
    assert len(reported(adamtune, tmp_path)) == 3


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no file": ({**MLP, "data": "files/row.csv"}, {}, "row.csv: no such file; did you mean rows.csv?"),
    "number": ({**MLP, "data": 3}, {}, "task.data: found 3, which is not text"),
    "no target": ({**MLP, "data": "files/rows.csv"}, {}, "its columns: a, b, n, c"),
    "no column": ({**MLP, "data": "files/rows.csv", "target": "d"}, {}, "rows.csv: no column d; its columns"),
    "suffix": ({**MLP, "data": "files/text.txt", "target": "d"}, {}, "write the data as .csv, .parquet or"),
    "both": (
        {**MLP, "data": "files/rows.csv", "dataset": "diabetes"},
        {},
        "task.dataset: found with task.data; dataset is of the built-in data: keep one",
    ),
    "target alone": ({**MLP, "target": "c"}, {}, "task.target: found without task.data"),
    "samples": (
        {**MLP, "dataset": "diabetes", "samples": 10_000},
        {},
        "task.samples: diabetes always has its",
    ),
    "kind": (
        {**MLP, "data": "files/rows.csv", "kind": "class"},
        {},
        "task.kind: found 'class'; allowed: auto",
    ),
    "batch": (
        {**MLP, "data": "files/rows.csv", "target": "c", "batch_size": 39},
        {},
        "batch_size 39 is more than the 38 training rows: use at most 38",
    ),
    "metric": (
        {**MLP, "data": "files/rows.csv", "target": "c"},
        {"objective": {"metric": "val_r2"}},
        "mlp reports no metric val_r2; its metrics: val_loss, val_accuracy, train_loss",
    ),
    "metric of a kind": (
        {**MLP, "data": "files/rows.csv", "target": "c", "kind": "classification"},
        {"objective": {"metric": "val_r2"}},
        "objective.metric: unknown metric of mlp 'val_r2'",
    ),
    "metric of built-in data": (
        MLP,
        {"objective": {"metric": "val_accuracy"}},
        "objective.metric: unknown metric of mlp 'val_accuracy'",
    ),
    "searched": (
        {**MLP, "data": "files/rows.csv"},
        {"space": {"lr": 0.1, "task": {"target": ["c", "n"]}}},
        "space.task.target: changes the data, so its trials cannot be compared",
    ),
    "small images": (
        {**CNN, "data": "files/images.npz", "channels": [2, 2, 2]},
        {},
        "images of 6x6 allow 2 convolutions, found 3 channels",
    ),
    "no text": ({**TRANSFORMER, "data": "files/rows.npz"}, {}, "rows.npz: is no text in UTF-8"),
    "short": ({**TRANSFORMER, "data": "files/text.txt", "context": 999}, {}, "context 999 needs at least"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_ends_before_the_first_trial(name: str, adamtune: Adamtune, tmp_path: Path) -> None:
    task, changed, message = REFUSED[name]
    study = write(tmp_path, task, **changed)
    for command in ("validate", "search"):
        code, out, err = adamtune(command, study)
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())
        assert "Traceback" not in err
    assert not (tmp_path / "studies.db").exists() or list_studies(str(tmp_path / "studies.db")) == []
