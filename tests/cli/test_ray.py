"""Studies on a Ray cluster of two nodes, of which a worker and a node are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adamtune.storage.records import TrialRecord
from adamtune.storage.studies import read_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the package ray"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]

REPOSITORY = Path(__file__).parents[2]
SECONDS = 240.0
"""The longest that a search may take here."""
MODULE = """
import time


def network(width):
    from torch import nn

    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 1))


def step(value, lr):
    time.sleep(0.02)
    return value - lr * 2 * value
"""
TASK = """
import torch
from beside import network

from adamtune import Data, Task


class Mine(Task):
    directions = {"error": "minimize"}
    epochs: int = 300
    batch_size: int = 32

    def data(self):
        x = torch.rand(512, 4, generator=torch.Generator().manual_seed(0))
        return Data.split(x, x.sum(1, keepdim=True).sin(), validation=0.2)

    def model(self):
        return network(64)

    def loss(self, model, batch):
        return (model(batch[0]) - batch[1]).square().mean()

    def metrics(self, model, batch):
        return {"error": (model(batch[0]) - batch[1]).abs().mean()}
"""
FUNCTION = """
import tempfile

import adamtune
from beside import step


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run):
    kept = run.restore()
    first, value = (0, 1.0) if kept is None else map(float, kept.read_text().split())
    for now in range(int(first) + 1, 101):
        value = step(value, run.settings["lr"])
        if now % 20 == 0:
            run.report(now, val_loss=value**2)
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(f"{now} {value!r}")
                file.flush()
                run.checkpoint(file.name)
"""
COMMAND = """
import json
import sys

from beside import step

value = 1.0
for now in range(1, 101):
    value = step(value, float(sys.argv[1]))
    if now % 20 == 0:
        print(json.dumps({"step": now, "loss": value**2}), flush=True)
"""
KINDS = {
    "mlp": ("{name: mlp, dataset: diabetes, hidden: [128, 128], batch_size: 16, epochs: 200}", 60),
    "cnn": ("{name: cnn, dataset: digits, batch_size: 64, epochs: 6}", 24),
    "own": ("mine.py", 60),
    "function": ("function.py", 6),
    "command": (f"{{command: '{sys.executable} queue.py {{lr}}', metrics: {{loss: minimize}}}}", 14),
}
"""The task of each kind of study, and how many trials it has. A module of the standard library is named
queue, too: the user's file of that name must not disturb a worker."""


AUTOSCALER: dict[str, Any] = {
    "cluster_name": "adamtune",
    "max_workers": 2,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "one core": {
            "resources": {"CPU": 1, "object_store_memory": 10**8},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
    },
    "head_node_type": "head",
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "idle_timeout_minutes": 1,
    "upscaling_speed": 1.0,
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "cluster_synced_files": [],
    "rsync_exclude": [],
    "rsync_filter": [],
}
"""Nodes that Ray starts on this machine as an autoscaler would on others."""


class Cluster:
    """A Ray cluster of nodes on this machine, each with one core.

    Args:
        folder: gets the logs.
        scales: whether an autoscaler starts all nodes but the first; that one trains nothing then.
    """

    def __init__(self, folder: Path, scales: bool = False) -> None:
        self._folder = folder
        self.environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        port = self.address.partition(":")[2]
        self._nodes: list[subprocess.Popen[bytes]] = []
        head = ["--head", f"--port={port}", "--include-dashboard=false"]
        self._own_ip = "127.0.0.1"
        if scales:
            from ray.util import get_node_ip_address

            self._own_ip = get_node_ip_address()  # as its other nodes do
            self.address = f"{self._own_ip}:{port}"
            scaling = folder / "cluster.yaml"
            provider = AUTOSCALER["provider"] | {"gcs_address": self.address}
            scaling.write_text(json.dumps(AUTOSCALER | {"provider": provider}))
            self.environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
            head += ["--num-cpus=0", f"--autoscaling-config={scaling}"]
        self.add(*head)

    def add(self, *arguments: str) -> None:
        """Starts a node, and waits until it runs."""
        log = self._folder / f"node-{len(self._nodes)}.log"
        program = Path(sys.executable).with_name("ray")
        common = [f"--node-ip-address={self._own_ip}", "--object-store-memory=100000000", "--block"]
        cores = [] if any("num-cpus" in each for each in arguments) else ["--num-cpus=1"]
        with log.open("wb") as out:
            self._nodes.append(
                subprocess.Popen(
                    [program, "start", *(arguments or [f"--address={self.address}"]), *cores, *common],
                    stdout=out,
                    stderr=out,
                    env={**self.environment, "PYTHONPATH": ""},
                    start_new_session=True,
                )
            )
        wait_for(lambda: b"Ray runtime started" in log.read_bytes(), "a node of the cluster")

    def workers(self, node: int) -> list[int]:
        """The processes of the workers of a node."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                name = (folder / "cmdline").read_text()
            except OSError:  # ended meanwhile
                continue
            if session == self._nodes[node].pid and name.startswith("ray::Actor"):
                found.append(int(folder.name))
        return found

    def kill(self, node: int) -> None:
        """Kills all processes of a node."""
        os.killpg(self._nodes[node].pid, signal.SIGKILL)
        self._nodes[node].wait()

    def close(self) -> None:
        """Ends the nodes."""
        for number, each in enumerate(self._nodes):
            if each.poll() is None:
                self.kill(number)


def wait_for(condition, what: str, seconds: float = SECONDS) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come in {seconds} seconds"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


def by_settings(path: Path) -> dict[str, TrialRecord]:
    """The trials of study s by their settings."""
    return {str(sorted(each.settings.items())): each for each in read_study(str(path), "s").trials}


def write_study(folder: Path, kind: str) -> int:
    """Writes the study file and the code of a kind; the number of trials."""
    folder.mkdir()
    task, trials = KINDS[kind]
    files = {"beside.py": MODULE, "mine.py": TASK, "function.py": FUNCTION, "queue.py": COMMAND}
    for name, text in files.items():
        if kind == "command" or name != "queue.py":
            (folder / name).write_text(text)
    (folder / "study.yaml").write_text(
        f"name: s\ntask: {task}\noptimizer: adam\nworkers: 2\n"
        "space: {lr: {low: 1.0e-3, high: 1.0e-1, log: true}}\n"
        f"search: {{trials: {trials}, sampler: qmc, pruner: none, confirm: off}}\n"
    )
    return trials


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_survives_the_death_of_a_worker_and_of_a_node(
    kind: str, cluster: Cluster, tmp_path: Path
) -> None:
    """The trials are those of a search on this machine, to the last bit."""
    trials = write_study(tmp_path / "code", kind)
    cluster.add()
    search = [sys.executable, "-m", "adamtune", "search", "code/study.yaml"]
    options = {"cwd": tmp_path, "env": cluster.environment}
    log = tmp_path / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [*search, "--storage", "ray.db", "--ray", cluster.address],
            stdout=out,
            stderr=out,
            **options,  # type: ignore[call-overload]
        )
    wait_for(lambda: "2 training" in log.read_text() or running.poll() is not None, "both workers")
    [worker] = cluster.workers(0)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "died" in log.read_text() or running.poll() is not None, "a death")
    cluster.kill(-1)
    assert running.wait(SECONDS) == 0, log.read_text()
    said = log.read_text()
    assert said.count(" died, ") == 2, said
    assert "raylet" not in said
    subprocess.run([*search, "--storage", "local.db"], check=True, capture_output=True, **options)  # type: ignore[call-overload]
    found, wanted = by_settings(tmp_path / "ray.db"), by_settings(tmp_path / "local.db")
    assert sorted(each.number for each in found.values()) == list(range(trials))
    assert found.keys() == wanted.keys()
    for settings, each in found.items():
        assert each.state == wanted[settings].state == "complete"
        assert each.intermediate == wanted[settings].intermediate
        assert each.value == wanted[settings].value


def test_workers_wait_for_nodes_and_a_study_goes_on_without_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The second of two workers starts once there is a node for it; ``--ray none`` resumes here."""
    trials = write_study(tmp_path / "code", "command")
    program = [sys.executable, "-m", "adamtune"]
    options = {"cwd": tmp_path, "env": cluster.environment}
    search = [*program, "search", "code/study.yaml", "--storage", "ray.db", "--ray", cluster.address]
    log = tmp_path / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(search, stdout=out, stderr=out, **options)  # type: ignore[call-overload]
    wait_for(lambda: "1 training, 1 starting" in log.read_text(), "the first worker")
    cluster.add()
    wait_for(lambda: "2 training" in log.read_text(), "the second worker")
    running.send_signal(signal.SIGINT)
    assert running.wait(SECONDS) == 130, log.read_text()
    cluster.kill(-1)
    resume = [*program, "resume", "s", "--storage", "ray.db", "--ray", "none"]
    subprocess.run(resume, check=True, capture_output=True, **options)  # type: ignore[call-overload]
    found = read_study(str(tmp_path / "ray.db"), "s").trials
    assert [each.number for each in found] == list(range(trials))
    assert {each.state for each in found} == {"complete"}


def test_an_autoscaling_cluster_gets_nodes_for_the_workers_that_wait(tmp_path: Path) -> None:
    """The head trains nothing, and there is no other node when the search begins."""
    trials = write_study(tmp_path / "code", "command")
    cluster = Cluster(tmp_path, scales=True)
    try:
        search = [sys.executable, "-m", "adamtune", "search", "code/study.yaml", "--storage", "ray.db"]
        found = subprocess.run(
            [*search, "--ray", cluster.address],
            cwd=tmp_path,
            env=cluster.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        cluster.close()
    assert found.returncode == 0, found.stderr
    assert "2 training" in found.stderr
    states = [each.state for each in read_study(str(tmp_path / "ray.db"), "s").trials]
    assert states == ["complete"] * trials
