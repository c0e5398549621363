"""What commands say of workers, and where these are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adamtune.config import override_search, parse_study
from adamtune.errors import StudyFileError
from adamtune.search.fleets import fleet_of, training_device

from .conftest import Ended


@pytest.mark.parametrize(
    ("keys", "training", "order"),
    [
        ("workers: 2\ncpus: 3", "in 2 workers with 3 cores each, 8 at a time", "workers train in rounds"),
        (
            "cluster: ray:10.0.0.1:6379\nworkers: 4\ngpus: 0.5",
            "in 4 workers of the Ray cluster 10.0.0.1:6379 with 1 core and 0.5 GPU each, 4 at a time",
            "suggestions depend on which trial ends first",
        ),
        (
            "cluster: ray\ndeterministic: true",
            "in as many workers as the Ray cluster auto has room for, with 1 core each, 16 at a time",
            "workers train in rounds",
        ),
    ],
)
def test_validate_says_which_workers_there_are(
    adamtune: Callable[..., Ended], keys: str, training: str, order: str, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(f"name: s\ntask: mlp\ndevice: auto\n{keys}\n")
    code, out, err = adamtune("validate", tmp_path / "s.yaml")
    assert (code, err) == (0, "")
    lines = {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in out.splitlines()}
    assert lines["training"].startswith(training)
    assert lines["order"].startswith(order)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("gpus: 1.5\nworkers: 2", "gpus: found 1.5; allowed: a part of one GPU, or a whole number"),
        ("gpus: 1\ndevice: cpu", "gpus: found 1, which device: cpu does not use; use device: auto"),
        (
            "cluster: ray\ndevice: cuda",
            "device: found cuda, which workers of a cluster do not get; set gpus to the GPUs of each worker",
        ),
        (
            "cluster: ray\ndevice: mps",
            "device: found mps, which workers of a cluster do not get; use device: auto",
        ),
    ],
)
def test_gpus_and_device_have_to_go_together(keys: str, problem: str) -> None:
    with pytest.raises(StudyFileError, match=problem):
        parse_study(f"name: s\ntask: mlp\n{keys}\n", "s.yaml")


def test_the_workers_of_a_stored_study_can_be_elsewhere() -> None:
    study = parse_study("name: s\ntask: mlp\nworkers: 3\ngpus: 1\n", "s.yaml")
    assert training_device(study) == ("auto", True)
    moved = override_search(study, {"cluster": "ray:auto", "search.trials": "7"})
    assert (moved.search.trials, moved.workers) == (7, 3)
    fleet = fleet_of(moved)
    assert fleet is not None
    assert fleet.ray == "auto"
    assert training_device(moved) == ("cuda", False)
    back = fleet_of(override_search(moved, {"cluster": "none"}))
    assert back is not None
    assert back.ray is None
    with pytest.raises(StudyFileError, match="cluster"):
        override_search(study, {"cluster": "ray:"})


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("device: cuda", "device: found cuda, which workers of a cluster do not get; set gpus"),
        ("device: mps", "device: found mps, which workers of a cluster do not get; use device: auto"),
    ],
)
def test_gpus_and_device_of_a_stored_study_have_to_go_with_its_new_workers(keys: str, problem: str) -> None:
    study = parse_study(f"name: s\ntask: mlp\n{keys}\n", "s.yaml")
    with pytest.raises(StudyFileError, match=problem):
        override_search(study, {"cluster": "ray:auto"})


@pytest.mark.parametrize("command", [("search",), ("resume",), ("check", "--baseline", "accepted.json")])
def test_an_empty_address_is_refused(adamtune: Callable[..., Ended], command: tuple[str, ...]) -> None:
    code, out, err = adamtune(*command, "s", "--ray", "")
    assert (code, out) == (2, "")
    assert "--ray: found ''; allowed: the address of a Ray cluster, auto for the one that runs here" in err
