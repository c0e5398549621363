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
from pathlib import Path

import pytest
import torch

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.side_by_side.engine import SideBySide
from adamtune.engines.side_by_side.transport import files, load, pack, save
from adamtune.errors import AdamtuneError, UsageError, origin
from adamtune.recipe import USUAL
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
    with closing(started(SideBySide(13, 2, torch.float64, start_seconds=0))) as made:
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


def test_members_move_in_the_middle_of_a_training(mlp: LoadedTask) -> None:
    members = some(mlp, 3)
    with closing(SideBySide(3, 2, torch.float64, start_seconds=0)) as engine:
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


def test_pauses_releases_and_states(engine: SideBySide, mlp: LoadedTask) -> None:
    """A state that is taken in a pause continues in either engine."""
    long = replace(mlp, steps=1200, evaluate_every=400)
    first, gone, later = members = some(long, 3)
    engine.admit([first, gone])
    engine.advance()
    engine.release([gone])
    engine.admit([later])
    assert engine.advance(lambda: True) == []
    state = copied(engine.state())
    other = sequential(2)
    other.restore([first, later], state)
    rest = finish(engine)
    assert_same_bits(finish(other), rest)
    engine.restore([first, later], state)
    assert_same_bits(finish(engine), rest)
    assert_same_bits({later: rest[later]}, {later: expected(members)[later]})
    assert engine.state() == {"members": []}


def test_there_are_as_many_members_as_slots(engine: SideBySide, mlp: LoadedTask) -> None:
    with pytest.raises(ValueError, match="14 members for 13 free slots"):
        engine.admit(some(mlp, 14))


def test_processes_share_the_data(tasks: Mapping[str, LoadedTask]) -> None:
    """Also rows that overlap in memory, as the windows of a text, take the memory of one copy."""
    task = tasks["transformer"]
    with files() as [path]:
        save((task.train, task.validation), path)
        assert path.stat().st_size < 2 * task.train[0].untyped_storage().nbytes() + 2**16
        train, validation = load(path)
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


def test_signals_to_all_processes_leave_the_decision_to_the_search(
    engine: SideBySide, mlp: LoadedTask
) -> None:
    members = some(mlp, 2)
    engine.admit(members)
    for process in engine._processes:
        process._popen.terminate()
        process._popen.send_signal(signal.SIGINT)
    assert_same_bits(finish(engine), expected(members))


def test_a_process_that_dies_is_an_error_with_its_reason(mlp: LoadedTask) -> None:
    with closing(started(SideBySide(2, 2, torch.float64, start_seconds=0))) as engine:
        engine.admit(some(mlp, 2))
        engine._processes[1]._popen.kill()
        with pytest.raises(AdamtuneError, match="trained 1 members ended: killed by SIGKILL; the system may"):
            finish(engine)
    assert all(each._popen.poll() is not None for each in engine._processes)


def test_processes_end_with_a_search_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time; from adamtune.engines.side_by_side.engine import SideBySide\n"
        "engine = SideBySide(2, 2, start_seconds=0)\n"
        "while not engine.moved: engine.advance()\n"
        "print(*[each._popen.pid for each in engine._processes], flush=True)\n"
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
