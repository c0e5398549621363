"""Training in processes gives the results of the sequential engine, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import torch

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.distributed.inline import InlinePool
from adamtune.engines.distributed.side_by_side import SideBySide
from adamtune.engines.distributed.transport import load, pack, save
from adamtune.engines.plan import Plan
from adamtune.errors import UsageError, origin
from adamtune.recipe import USUAL
from adamtune.storage.local.checkpoints import load as load_checkpoint
from adamtune.storage.local.checkpoints import save as save_checkpoint
from adamtune.tasks.entry import TaskEntry
from adamtune.tasks.loaded import LoadedTask
from adamtune.tasks.registry import find_task

from ..user_tasks import write_task
from .test_pause import after
from .test_state import assert_same_bits, members_of
from .training import copied, finish, sequential, some

DROPOUT = ("nn.ReLU()", "nn.Dropout(0.3)")


def known(name: str) -> TaskEntry:
    found = find_task(name)
    assert isinstance(found, TaskEntry)
    return found


def own_task(folder: Path, *changes: tuple[str, str]) -> LoadedTask:
    """A task of a user's file."""
    return known(str(write_task(folder, *changes))).build({})


@pytest.fixture(scope="module")
def engine() -> Iterator[SideBySide]:
    """An engine whose processes have started; tests leave it without members."""
    torch.set_default_dtype(torch.float64)  # before the fixture of each test does it
    with closing(started(SideBySide(13, 2, start_seconds=0))) as made:
        yield made


def started(engine: SideBySide) -> SideBySide:
    """Waits until the processes of an engine train its members."""
    while not engine.moved:
        assert engine.advance() == []
        time.sleep(0.01)
    return engine


def expected(members: list[Member]) -> dict[Member, list[Evaluation]]:
    return finish(sequential(len(members)), members)


def test_results_are_those_of_the_sequential_engine(
    engine: SideBySide, tasks: Mapping[str, LoadedTask], tmp_path: Path
) -> None:
    members = members_of([*tasks.values(), own_task(tmp_path, DROPOUT)], 12)
    assert_same_bits(finish(engine, members), expected(members))


@pytest.mark.slow
def test_members_move_in_the_middle_of_a_training(mlp: LoadedTask) -> None:
    members = some(mlp, 3)
    with closing(SideBySide(3, 2, start_seconds=0)) as engine:
        engine.admit(members)
        found: dict[Member, list[Evaluation]] = {}
        steps = 0
        while not engine.moved or steps == 0:  # a step at a time, until the processes have started
            evaluations = engine.advance(after(1))
            steps += 1
            for each in evaluations:
                found.setdefault(each.member, []).append(each)
            if len(found.get(members[0], ())) > 8:
                pytest.skip("the training ended before the processes had started")
            time.sleep(0.05)
        while evaluations := engine.advance():
            for each in evaluations:
                found.setdefault(each.member, []).append(each)
    assert_same_bits(found, expected(members))


def test_pauses_releases_and_states(engine: SideBySide, mlp: LoadedTask, tmp_path: Path) -> None:
    """A state that is taken in a pause continues in other processes, also with another number of them."""
    long = replace(mlp, steps=240, evaluate_every=80)
    first, gone, later = members = some(long, 3)
    engine.admit([first, gone])
    engine.advance()
    engine.release([gone])
    engine.admit([later])
    engine.advance(lambda: True)
    save_checkpoint(tmp_path / "state", engine.state())
    rest = remaining(engine, [first, later])
    assert_same_bits({later: rest[later]}, {later: expected(members)[later]})
    state = load_checkpoint(tmp_path / "state")
    engine.restore([first, later], state)
    assert_same_bits(remaining(engine, [first, later]), rest)
    workers = Distributed(InlinePool(1), Plan("sequential", 3, 1, "cpu", ""))
    workers.restore([first, later], state)
    assert_same_bits(remaining(workers, [first, later]), rest)


@pytest.mark.parametrize("kind", ["in this process", "in processes", "workers"])
def test_states_of_the_sequential_engine_continue(engine: SideBySide, mlp: LoadedTask, kind: str) -> None:
    """Those that processes gave before, too, had this form."""
    members = some(replace(mlp, steps=60, evaluate_every=20), 3)
    own = sequential(3)
    own.admit(members)
    own.advance()
    own.advance(after(8))
    state = copied(own.state())
    rest = remaining(own, members)
    assert set(state) == {"members"}
    workers = Distributed(InlinePool(2), Plan("sequential", 2, 1, "cpu", ""))
    made = {
        "in this process": SideBySide(3, 2, start_seconds=inf),
        "in processes": engine,
        "workers": workers,
    }[kind]
    made.restore(members, state)
    assert_same_bits(remaining(made, members), rest)


def remaining(engine: Engine, members: list[Member]) -> dict[Member, list[Evaluation]]:
    """Trains members until all have ended; the evaluations of each."""
    found: dict[Member, list[Evaluation]] = {each: [] for each in members}
    while not all(own and own[-1].ends for own in found.values()):
        for each in engine.advance():
            found[each.member].append(each)
    return found


def test_processes_share_the_data(tasks: Mapping[str, LoadedTask], tmp_path: Path) -> None:
    """Also rows that overlap in memory, as the windows of a text, take the memory of one copy."""
    task = tasks["transformer"]
    save((task.train, task.validation), tmp_path / "data")
    assert (tmp_path / "data").stat().st_size < 2 * task.train[0].untyped_storage().nbytes() + 2**16
    train, validation = load(tmp_path / "data")
    torch.testing.assert_close((train, validation), (task.train, task.validation), rtol=0, atol=0)
    assert train[0].stride() == task.train[0].stride()


def test_a_task_that_cannot_move_is_found_before() -> None:
    with pytest.raises(ValueError, match="cannot be pickled"):
        pack(LoadedTask(lambda: 0, (), (), None, "", 1, 1, USUAL))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            ("return F.cross_entropy", "raise KeyError('gone')\n        return F.cross_entropy"),
            KeyError,
            "gone",
        ),
        (("F.cross_entropy(", "1, F.cross_entropy("), UsageError, "loss returned"),
    ],
)
def test_an_error_in_a_process_is_raised_here(
    engine: SideBySide, tmp_path: Path, change: tuple[str, str], kind: type[Exception], message: str
) -> None:
    members = some(own_task(tmp_path, change), 1)
    engine.admit(members)
    with pytest.raises(kind, match=message) as caught:
        engine.advance()
    if kind is KeyError:
        line = (tmp_path / "churn.py").read_text().split("raise KeyError")[0].count("\n") + 1
        assert origin(caught.value) == f"{tmp_path / 'churn.py'}:{line}"
    engine.release(members)
    for place in engine._workers._places:
        while place.is_awaited:  # of training that it was told in advance
            with suppress(kind):
                place.receive()


def test_signals_to_all_processes_leave_the_decision_to_the_search(
    engine: SideBySide, mlp: LoadedTask
) -> None:
    members = some(mlp, 2)
    engine.admit(members)
    for process in processes(engine):
        process.terminate()
        process.send_signal(signal.SIGINT)
    assert_same_bits(finish(engine), expected(members))


@pytest.mark.slow
def test_members_of_a_process_that_dies_go_on(mlp: LoadedTask) -> None:
    members = some(mlp, 2)
    with closing(started(SideBySide(2, 2, start_seconds=0))) as engine:
        own = processes(engine)
        engine.admit(members)
        own[1].kill()
        assert_same_bits(finish(engine), expected(members))
    assert all(each.poll() is not None for each in own)


def processes(engine: SideBySide) -> list[subprocess.Popen[bytes]]:
    return [each.worker._popen for each in engine._workers._places]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_processes_end_with_a_search_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time; from adamtune.engines.distributed.side_by_side import SideBySide\n"
        "engine = SideBySide(2, 2, start_seconds=0)\n"
        "while not engine.moved: engine.advance()\n"
        "print(*[each.worker._popen.pid for each in engine._workers._places], flush=True)\n"
        "time.sleep(60)"
    )
    search = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert search.stdout is not None
    processes = [int(each) for each in search.stdout.readline().split()]
    assert len(processes) == 2
    search.kill()
    search.wait()
    wait_until(lambda: not any(map(runs, processes)))
    search.stdout.close()


def runs(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
