"""Functions and commands that behave and misbehave, and searches of them in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from adamtune.cli import main
from adamtune.storage.studies import read_study

FUNCTION = '''\
"""A function as a user writes it; its setting ``fault`` makes it misbehave."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import adamtune


def misbehave(fault):
    if fault == "raise":
        raise KeyError("no such column")
    if fault == "exit":
        os._exit(0)
    if fault == "code":
        sys.exit(7)
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    if fault == "children":
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if fault == "fork":
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,)).start()
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(3)


@adamtune.trainable(metrics={"val_loss": "minimize"})
def train(run):
    """Halves a loss."""
    lr, sleep = run.settings["lr"], run.settings.get("sleep", 0)
    print("training with", lr, flush=True)
    first = 1
    if run.settings.get("checkpoints"):
        kept = run.restore()
        first = int(kept.read_text()) + 1 if kept else 1
        print("first step", first, flush=True)
    for step in range(first, 11):
        time.sleep(sleep)
        run.report(step, val_loss=lr * 2**-step + run.seed * 1e-15)
        misbehave(run.settings.get("fault"))
        if run.settings.get("checkpoints"):
            with open(f"{os.getpid()}.state", "w") as file:
                file.write(str(step))
            run.checkpoint(f"{os.getpid()}.state")
            os.remove(f"{os.getpid()}.state")
'''

COMMAND = '''\
"""A command as a user writes it; its option ``--fault`` makes it misbehave."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--seed", type=int)
parser.add_argument("--fault", default="none")
parser.add_argument("--sleep", type=float, default=0)
options = parser.parse_args()
print("training with", options.lr)
for step in range(1, 11):
    time.sleep(options.sleep)
    line = json.dumps({"step": step, "val_loss": options.lr * 2**-step + options.seed * 1e-15, "more": 1})
    if options.fault == "file":
        with open(os.environ["ADAMTUNE_REPORT"], "a") as file:
            print(line, file=file)
    else:
        print(line)
    if options.fault == "code":
        print("no such column", file=sys.stderr)
        sys.exit(7)
    if options.fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if options.fault == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    if options.fault == "output" and step == 1:
        for _ in range(1000):
            print("x" * 99_999)
    if options.fault == "children":
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
    if options.fault == "fork":
        subprocess.Popen(["sleep", "1000"])
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        sys.exit(3)
'''

LR = {"low": 1e-4, "high": 1e-1, "log": True}


def write(folder: Path, kind: str, **changed: Any) -> Path:
    """A study file of a function or a command; ``task`` and ``search`` are changed key by key."""
    (folder / "train.py").write_text(FUNCTION)
    (folder / "command.py").write_text(COMMAND)
    line = f"{sys.executable} command.py --lr {{lr}} --seed {{seed}}"
    task = dict(changed.pop("task", {}))
    space = {"lr": LR, **changed.pop("space", {})}
    for name in (*task, *space.get("task", {})):
        line += f" --{name} {{{name}}}" if kind == "command" else ""
    if kind == "function":
        task = {"name": "train.py", **task}
    else:
        task = {"command": line, "metrics": {"val_loss": "minimize"}, **task}
    search = {"trials": 4, "sampler": "qmc", **changed.pop("search", {})}
    document = {"name": "s", "storage": str(folder / "s.db"), "task": task, "space": space, "search": search}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**document, **changed}, sort_keys=False))
    return path


class Search:
    """``adamtune search`` of a study file, whose processes can be found."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path, self._options, self._mark = path, options, uuid.uuid4().hex
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Search:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "adamtune", "search", str(self.path), *self._options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.path.parent,
            env={**os.environ, "TEST_MARK": self._mark},
        )
        return self

    def wait(self, patience: float = 120.0) -> tuple[int, str]:
        """Its exit code and output, once it has ended."""
        assert self._process is not None
        out, _ = self._process.communicate(timeout=patience)
        return self._process.returncode, out

    def run(self) -> tuple[int, str]:
        """Runs it in this process."""
        os.environ["TEST_MARK"] = self._mark
        try:
            with redirect_stdout(StringIO()) as out, redirect_stderr(out):
                code = main.run(["search", str(self.path), *self._options])
            return code, out.getvalue()
        finally:
            del os.environ["TEST_MARK"]

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def processes(self) -> list[str]:
        """The command lines of the processes that the search and its trials have started."""
        mark = f"TEST_MARK={self._mark}".encode()
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (each / "environ").read_bytes() and b"\0Z" not in (each / "stat").read_bytes():
                    found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def left(self, patience: float = 3.0) -> list[str]:
        """The processes that are left after a moment."""
        end = time.monotonic() + patience
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        return found


def until(condition: Any, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def trials(folder: Path) -> list[dict[str, Any]]:
    """Every trial without its seconds, by number."""
    study = read_study(str(folder / "s.db"), "s")
    return [
        {
            "number": each.number,
            "state": each.state,
            "value": each.value,
            "params": dict(each.params),
            "intermediate": dict(each.intermediate),
            "metrics": dict(each.metrics),
            "steps": each.steps,
        }
        for each in study.trials
    ]


def failures(folder: Path) -> list[str]:
    """Why each failed trial has failed."""
    study = read_study(str(folder / "s.db"), "s")
    return [each.failure or "" for each in study.trials if each.state == "failed"]
