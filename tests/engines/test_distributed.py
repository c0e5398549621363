"""Workers give the results of one engine, also where they die; the order of evaluations, and the states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from adamtune.engines.base import Engine, Evaluation, Member
from adamtune.engines.distributed.base import Call, WorkerDied
from adamtune.engines.distributed.engine import Distributed
from adamtune.engines.distributed.inline import InlinePool, InlineWorker
from adamtune.engines.distributed.local import LocalPool
from adamtune.engines.plan import Plan
from adamtune.errors import AdamtuneError, UsageError
from adamtune.storage.local.checkpoints import load, save
from adamtune.tasks.loaded import LoadedTask

from .models import Toy
from .test_state import assert_same_bits
from .training import finish, population, sequential, some

Found = dict[Member, list[Evaluation]]
SEQUENTIAL, LOCKSTEP = Plan("sequential", 3, 1, "cpu", ""), Plan("population", 3, 1, "cpu", "")


class Mortal(InlineWorker):
    """A worker that dies when a test says so."""

    dead = False

    def send(self, calls: Sequence[Call]) -> None:
        if self.dead:
            raise WorkerDied("killed by SIGKILL")
        super().send(calls)

    def receive(self) -> tuple[bool, Any]:
        if self.dead:
            raise WorkerDied("killed by SIGKILL")
        return super().receive()


class MortalPool(InlinePool):
    """Workers that die; ``started`` has the last one of each place."""

    def __init__(self, count: int, replaces: bool = True, returns: bool = True) -> None:
        super().__init__(count)
        self.replaces, self._returns = replaces, returns
        self.started: dict[int, Mortal] = {}
        self.lost: set[int] = set()

    def start(self, index: int) -> InlineWorker:
        if index in self.started and not self._returns:
            self.lost.add(index)
        self.started[index] = Mortal()
        return self.started[index]

    def wait(self, timeout: float) -> Sequence[int]:
        asked = (index for index, each in self.started.items() if each.is_asked)
        return [each for each in asked if each not in self.lost]  # a node that is lost never answers


@pytest.fixture
def toy() -> LoadedTask:
    return Toy(steps=30, evaluate_every=3)


def train(
    engine: Engine, members: Sequence[Member], act: Callable[[int], object] = lambda count: None
) -> Found:
    """Trains the members to their ends; ``act`` gets the number of evaluations before and after each call."""
    engine.admit(members)
    act(0)
    found: Found = {}
    left = set(members)
    while left:
        for each in engine.advance():
            found.setdefault(each.member, []).append(each)
            left -= {each.member} if each.ends else set()
        act(sum(map(len, found.values())))
    return found


def assert_close(found: Found, expected: Found) -> None:
    """The same evaluations, up to the rounding that other rows of a batched product have."""
    assert found.keys() == expected.keys()
    for member, own in expected.items():
        assert [each.step for each in found[member]] == [each.step for each in own]
        for one, other in zip(found[member], own, strict=True):
            torch.testing.assert_close(dict(one.metrics), dict(other.metrics), rtol=1e-9, atol=0)


def expected(members: Sequence[Member]) -> Found:
    return finish(sequential(len(members)), members)


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("plan", [SEQUENTIAL, LOCKSTEP], ids=["sequential", "lockstep"])
def test_workers_give_the_results_of_one_engine(toy: LoadedTask, plan: Plan, rounds: bool) -> None:
    members = some(toy, 6)
    with closing(Distributed(InlinePool(2), plan, rounds=rounds)) as engine:
        assert_close(train(engine, members), expected(members))
        assert [each.evaluations for each in engine.statuses()] == [30, 30]


def test_all_members_of_a_trial_train_on_one_worker(toy: LoadedTask) -> None:
    members = [each for trial in range(2) for each in _replicates(toy, trial, 2)]
    with closing(Distributed(InlinePool(2), Plan("population", 2, 1, "cpu", ""))) as engine:
        found = train(engine, members)
        assert [each.evaluations for each in engine.statuses()] == [20, 20]
    assert_close(found, expected(members))


def _replicates(task: LoadedTask, trial: int, count: int) -> list[Member]:
    return [some(task, trial + 1, replicate=number)[trial] for number in range(count)]


@pytest.mark.parametrize("seconds", [1e-9, 100.0], ids=["with states", "without a state"])
@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("plan", [SEQUENTIAL, LOCKSTEP], ids=["sequential", "lockstep"])
def test_members_of_a_worker_that_dies_go_on(
    toy: LoadedTask, plan: Plan, rounds: bool, seconds: float
) -> None:
    """No evaluation is lost or made twice; from a state, no step is taken twice that it has."""
    pool, members, deaths = MortalPool(2), some(toy, 6), [6, 24]
    with closing(Distributed(pool, plan, rounds=rounds, state_seconds=seconds)) as engine:

        def kill(count: int) -> None:
            if deaths and count >= deaths[0]:
                deaths.pop(0)
                pool.started[1].dead = True

        found = train(engine, members, kill)
        assert [each.lost for each in engine.statuses()] == [0, 2]
        [line, _] = engine.events()
        assert line.startswith("worker 1 died, killed by SIGKILL: its 3 trainings go on")
    assert_close(found, expected(members))


@pytest.mark.parametrize("plan", [SEQUENTIAL, LOCKSTEP], ids=["sequential", "lockstep"])
def test_members_of_a_lost_node_go_to_other_workers(toy: LoadedTask, plan: Plan) -> None:
    pool, members = MortalPool(2, replaces=False, returns=False), some(toy, 6)
    with closing(Distributed(pool, plan, state_seconds=1e-9)) as engine:
        mortal = pool.started[1]
        found = train(engine, members, lambda count: count >= 6 and vars(mortal).update(dead=True))
        first, second = engine.statuses()
        assert first.evaluations + second.evaluations == 60
        assert 3 <= second.evaluations < 30
        assert second.state == "starting"
    assert_close(found, expected(members))


def test_a_worker_that_keeps_dying_ends_the_search_with_its_reason(toy: LoadedTask) -> None:
    pool = MortalPool(1)
    with closing(Distributed(pool, SEQUENTIAL)) as engine:
        engine.admit(some(toy, 2))

        def die() -> None:
            while True:
                engine.advance(lambda: True)
                pool.started[0].dead = bool(engine._places[0].members)

        with pytest.raises(
            AdamtuneError, match=r"3 workers died one after the other with 2 members .*: killed"
        ):
            die()


def test_a_worker_that_cannot_start_ends_the_search_with_its_reason() -> None:
    class Unable(MortalPool):
        def start(self, index: int) -> InlineWorker:
            worker = super().start(index)
            self.started[index].dead = True
            return worker

    with pytest.raises(AdamtuneError, match="3 workers died one after the other before they had begun"):
        Distributed(Unable(1), SEQUENTIAL)


def test_pruned_members_leave_their_worker(toy: LoadedTask) -> None:
    """Also where the worker dies before it has given a state without them."""
    pool, members = MortalPool(1), some(toy, 3)
    with closing(Distributed(pool, LOCKSTEP, state_seconds=1e-9)) as engine:
        engine.admit(members)
        engine.advance()
        engine.release([members[1]])
        pool.started[0].dead = True
        found: Found = {}
        while engine._members:
            for each in engine.advance():
                found.setdefault(each.member, []).append(each)
    whole = expected(members)
    assert_close(found, {each: whole[each][1:] for each in (members[0], members[2])})


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize("plan", [SEQUENTIAL, LOCKSTEP], ids=["sequential", "lockstep"])
def test_a_state_continues_to_the_last_bit(toy: LoadedTask, tmp_path: Path, plan: Plan, rounds: bool) -> None:
    """As a checkpoint on disk, after a pruned member and before one that has just begun."""
    members = some(toy, 6)

    for seconds in (1e-9, 100.0):  # with states of every evaluation, or of none
        engine = Distributed(InlinePool(2), plan, rounds=rounds, state_seconds=seconds)
        engine.admit(members[:5])
        for _ in range(5):
            engine.advance()
        engine.release([members[1]])
        engine.admit(members[5:])
        save(tmp_path / "state", engine.state())
        left = [each for each in members if each is not members[1]]
        rest = _rest(engine)
        other = Distributed(InlinePool(2), plan, rounds=rounds)
        other.restore(left, load(tmp_path / "state"))
        assert_same_bits(_rest(other), rest)


def _rest(engine: Distributed) -> Found:
    found: Found = {}
    while engine._members:
        for each in engine.advance():
            found.setdefault(each.member, []).append(each)
    return {each: found[each] for each in sorted(found, key=lambda each: each.trial)}


def test_workers_continue_the_state_of_an_engine_without_workers(toy: LoadedTask) -> None:
    """One of them has such an engine, with as many threads and slots."""
    members = some(toy, 5)
    own = population(5, 2)
    own.admit(members)
    own.advance()
    state = own.state()
    rest = finish(own)
    assert list(rest) == members
    foreign = Plan("population", 5, 2, "cpu", "")
    with closing(Distributed(InlinePool(2), LOCKSTEP, foreign=foreign)) as engine:
        engine.restore(members, state)
        assert_same_bits(_rest(engine), rest)


def test_there_are_as_many_members_as_slots(toy: LoadedTask) -> None:
    engine = Distributed(InlinePool(2), LOCKSTEP)
    with pytest.raises(ValueError, match="7 members for 6 free slots"):
        engine.admit(some(toy, 7))


def test_processes_train_and_are_replaced(tasks: Mapping[str, LoadedTask]) -> None:
    """With tasks of all kinds; a process is killed. None is left, and no file."""
    members = [each for task in tasks.values() for each in some(task, 2)]
    plan = Plan("population", len(members), 1, "cpu", "")
    pool = LocalPool(2, 1, 0.0)
    engine = Distributed(pool, plan, state_seconds=0.01)
    with closing(pool), closing(engine):
        processes = [each.worker for each in engine._places]

        def kill(count: int) -> None:
            # At once: these trainings take less time than another process takes to start.
            if not count:
                engine._places[1].worker._popen.kill()

        found = train(engine, members, kill)
        assert [each.lost for each in engine.statuses()] == [0, 1]
    assert_close(found, expected(members))
    assert all(each._popen.poll() is not None for each in processes)
    assert not Path(pool._folder.name).exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the environment in /proc")
@pytest.mark.parametrize(
    ("count", "gpus", "expected"),
    [
        (2, 1.0, ["a", "b"]),
        (2, 2.0, ["a,b", "c,d"]),
        (4, 0.5, ["a", "a", "b", "b"]),
        (3, 0.4, ["a", "a", "b"]),
    ],
)
def test_each_worker_has_gpus_of_its_own(
    count: int, gpus: float, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c,d")
    found = []
    with closing(LocalPool(count, 1, gpus)) as pool:
        for index in range(count):
            with closing(pool.start(index)) as worker:
                environment = Path(f"/proc/{worker._popen.pid}/environ")
                while not (text := environment.read_text()):  # for a moment after the start
                    pass
            variables = dict(each.partition("=")[::2] for each in text.split("\0"))
            found.append(variables["CUDA_VISIBLE_DEVICES"])
    assert found == expected


def test_too_few_gpus_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(UsageError, match="workers: 3 with gpus: 1 need 3 GPUs, and 2 are visible here"):
        LocalPool(3, 1, 1.0)
