"""The files of offline runs have what was written, as ``wandb sync`` reads them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adamtune.exports.runs import Run

from .records import NAME, ended, runs_of, states

wandb = pytest.importorskip("wandb", reason="wandb is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

from wandb.proto.wandb_internal_pb2 import Record  # noqa: E402

from adamtune.exports.wandb import WandbTarget  # noqa: E402

BLOCK, HEADER, FILE_HEADER = 32768, 7, 7


def records(path: Path) -> Iterator[Any]:
    """The records of a file: LevelDB's log format behind a header of seven bytes."""
    data, at, parts = path.read_bytes(), FILE_HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # the rest of a block is padding
            at += BLOCK - at % BLOCK
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


class Read:
    """An offline run."""

    def __init__(self, path: Path) -> None:
        self.config: dict[str, Any] = {}
        self.points: dict[str, dict[int, float]] = {}
        self.summary: dict[str, Any] = {}
        for each in records(path):
            kind = each.WhichOneof("record_type")
            if kind == "run":
                self.run = each.run
                self.config |= {item.key: json.loads(item.value_json) for item in each.run.config.update}
            elif kind == "history":
                row = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in each.history.item
                }
                step = row.pop("_step", each.history.step.num)
                for name, value in row.items():
                    if not name.startswith("_"):
                        self.points.setdefault(name, {})[int(step)] = value
            elif kind == "summary":
                for item in each.summary.update:
                    name = item.key or ".".join(item.nested_key)
                    self.summary[name] = json.loads(item.value_json)
            elif kind == "exit":
                self.exit_code = each.exit.exit_code


def read(folder: Path) -> dict[str, Read]:
    """The runs in a folder by name; every folder of a run counts."""
    found = [Read(each) for each in folder.glob("wandb/offline-run-*/*.wandb")]
    named = {each.run.display_name: each for each in found}
    assert len(named) == len(found)
    return named


def write(folder: Path, runs: list[Run]) -> list[bool]:
    target = WandbTarget(str(folder), NAME)
    changed = [target.write(each) for each in runs]
    target.close()
    return changed


def comparable(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def test_runs_are_read_back_equal(tmp_path: Path) -> None:
    runs = runs_of(states())
    assert write(tmp_path, runs) == [False, *[True] * 5, False]  # what runs is written once it has ended
    found = read(tmp_path)
    assert found.keys() == {each.name for each in runs[1:6]}
    for run in runs[1:6]:
        own = found[run.name]
        assert {name: own.config[name] for name in run.params} == run.params
        assert own.config["adamtune"] == run.tags
        assert (own.run.run_group, own.run.job_type, list(own.run.tags)) == (NAME, "trial", [run.state])
        points = {
            name: {step: comparable(each) for step, each in values.items()}
            for name, values in own.points.items()
        }
        assert points == {
            name: {step: comparable(each) for step, each in values.items()}
            for name, values in run.points.items()
            if values
        }
        assert own.summary["state"] == run.state
        assert own.exit_code == (run.state == "failed")
    assert found["trial 2"].summary["val_loss"] == 0.0561
    assert len({each.run.run_id for each in found.values()}) == 5


def test_a_second_export_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path, runs_of(ended()))
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    assert len(folders) == 7
    assert not any(write(tmp_path, runs_of(ended())))
    assert sorted(tmp_path.glob("wandb/offline-run-*")) == folders


def test_what_has_changed_replaces_the_run_of_its_id(tmp_path: Path) -> None:
    runs = runs_of(ended())
    write(tmp_path, runs)
    before = read(tmp_path)["trial 2"].run.run_id
    changed = replace(runs[3], points={"val_loss": {1: 0.25}})
    assert write(tmp_path, [*runs[:3], changed, *runs[4:]]) == [*[False] * 3, True, *[False] * 3]
    found = read(tmp_path)["trial 2"]
    assert found.points == {"val_loss": {1: 0.25}}
    assert found.run.run_id == before


def test_a_run_that_was_not_finished_is_written_again(tmp_path: Path) -> None:
    runs = runs_of(ended())[:2]
    write(tmp_path, runs)
    (mark, _) = tmp_path.glob("wandb/offline-run-*/.fingerprint")
    mark.unlink()
    assert sum(write(tmp_path, runs)) == 1
    assert read(tmp_path).keys() == {NAME, "trial 0"}
