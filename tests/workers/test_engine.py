"""The engine of workers alone: which evaluations it returns when, and what it continues from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from adamtune.engines.base import Evaluation, Member
from adamtune.engines.plan import workers_plan
from adamtune.engines.workers.engine import Workers
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.tasks.program import Program
from adamtune.tasks.randomness import derive

Found = list[tuple[int, int, int]]


def report(step: object, value: object) -> str:
    return f'echo \'{{{{"step": {step}, "val_loss": {value}}}}}\''


def program(*lines: str, **settings: Any) -> Program:
    """A shell script that gets the seed as $1."""
    script = "; ".join(lines).replace('"', '\\"')
    return Program(("val_loss",), command=f'sh -c "{script}" sh {{seed}}', settings=settings)


def member(trial: int, task: Program, replicate: int = 0) -> Member:
    return Member(trial, replicate, 0, cast(Any, task), "adamw", OPTIMIZERS["adamw"].defaults, "constant", {})


@contextmanager
def workers(folder: Path, count: int = 1, **options: Any) -> Iterator[Workers]:
    engine = Workers(8, count, folder, **options)
    try:
        yield engine
    finally:
        engine.close()


def rounds(engine: Workers) -> list[list[Evaluation]]:
    """What ``advance`` returns until no member is in training."""
    return list(iter(engine.advance, []))


def places(found: list[Evaluation]) -> Found:
    return [(each.member.trial, each.member.replicate, each.step) for each in found]


def test_each_trial_is_evaluated_when_it_reports(tmp_path: Path) -> None:
    fast = program(report(1, 1), report(2, 0.5))
    slow = program("sleep 0.3", report(7, 2))
    with workers(tmp_path, 2) as engine:
        engine.admit([member(0, slow), member(1, fast)])
        found = rounds(engine)
    order = [(1, 0, 1), (1, 0, 2), (1, 0, 2), (0, 0, 7), (0, 0, 7)]
    assert [places(each) for each in found] == [[each] for each in order]
    assert [each[0].finished for each in found] == [False, False, True, False, True]
    assert found[2][0].metrics == {"val_loss": 0.5}


def test_members_of_a_trial_are_evaluated_at_the_steps_that_all_report(tmp_path: Path) -> None:
    seeds = [derive(0, "program", replicate) for replicate in range(2)]
    task = program(
        report(1, 1),
        f"if [ $1 = {seeds[0]} ]; then {report(2, 1)}; fi",
        report(3, 1),
        f"if [ $1 = {seeds[1]} ]; then {report(9, 4)}; fi",
    )
    with workers(tmp_path) as engine:
        engine.admit([member(0, task), member(0, task, 1)])
        found = [places(each) for each in rounds(engine)]
    assert found == [[(0, 0, 1), (0, 1, 1)], [(0, 0, 3), (0, 1, 3)], [(0, 0, 3), (0, 1, 9)]]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null"])
def test_a_divergence_comes_after_the_reports_before_it(tmp_path: Path, value: str) -> None:
    with workers(tmp_path) as engine:
        engine.admit([member(0, program(report(1, 1), report(2, value), report(3, 1)))])
        found = [each for some in rounds(engine) for each in some]
    assert [(each.step, each.diverged_at) for each in found] == [(1, None), (2, 2)]
    assert found[1].metrics == {}
    assert not any(tmp_path.iterdir())  # neither a log nor a folder


def test_a_failure_comes_after_the_reports_before_it(tmp_path: Path) -> None:
    with workers(tmp_path) as engine:
        engine.admit([member(0, program(report(1, 1), "echo why >&2", "exit 9"))])
        found = [each for some in rounds(engine) for each in some]
    assert [(each.step, each.failure) for each in found] == [(1, None), (1, "exit code 9\nwhy")]


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (["echo no report"], "it ended without a report of val_loss\nno report"),
        (
            ['echo \'{{"step": 1, "loss": 2}}\''],
            'it ended without a report of val_loss\n{"step": 1, "loss": 2}',
        ),
        (["kill -KILL $$"], "killed by SIGKILL"),
    ],
)
def test_failures(tmp_path: Path, lines: list[str], failure: str) -> None:
    with workers(tmp_path) as engine:
        engine.admit([member(0, program(*lines))])
        ((found,),) = rounds(engine)
    assert found.failure == failure


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with workers(tmp_path) as engine:
        engine.admit([member(0, Program(("a",), command="/no/such/program"))])
        engine.admit([member(1, Program(("a",), command="true", folder=Path("/no/such/folder")))])
        found = [each.failure for some in rounds(engine) for each in some]
    assert found == [
        "cannot be started: /no/such/program: No such file or directory",
        "cannot be started: /no/such/folder: No such file or directory",
    ]


def test_a_timeout(tmp_path: Path) -> None:
    with workers(tmp_path, timeout=0.2) as engine:
        engine.admit([member(0, program("sleep 100")), member(1, program(report(1, 1)))])
        found = {each.member.trial: each for some in rounds(engine) for each in some}
    assert found[0].failure == "stopped after 0.2 s, the trial_timeout"
    assert found[1].finished


def test_a_pause_and_a_member_that_is_released(tmp_path: Path) -> None:
    with workers(tmp_path) as engine:
        pruned = member(0, program(report(1, 1), "sleep 100"))
        engine.admit([pruned, member(1, program(report(1, 1)))])
        assert engine.advance(lambda: True) == []
        assert places(engine.advance()) == [(0, 0, 1)]
        engine.release([pruned])
        assert [places(each) for each in rounds(engine)] == [[(1, 0, 1)], [(1, 0, 1)]]


def test_there_are_only_so_many_slots(tmp_path: Path) -> None:
    with workers(tmp_path) as engine, pytest.raises(ValueError, match="9 members for 8 free slots"):
        engine.admit([member(number, program()) for number in range(9)])


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_state_is_continued(tmp_path: Path, has_checkpoint: bool) -> None:
    """The program reports step 2 after the state was taken; from a checkpoint it continues with step 3."""
    begin = [
        report(1, 1),
        "sleep 0.2",
        report(2, 2),
        *(["touch $ADAMTUNE_CHECKPOINT/x"] if has_checkpoint else []),
    ]
    task = program(
        "echo run",
        f"if [ -e $ADAMTUNE_CHECKPOINT/x ]; then echo again; else {'; '.join(begin)}; fi",
        "sleep 0.3",
        report(3, 3),
    )
    own = member(0, task)
    with workers(tmp_path) as engine:
        engine.admit([own])
        assert places(engine.advance()) == [(0, 0, 1)]
        state = engine.state()
        assert places(engine.advance()) == [(0, 0, 2)]
        engine.advance(lambda: (tmp_path / "trial-0" / "checkpoint" / "x").exists() or not has_checkpoint)
    with workers(tmp_path) as engine:
        engine.restore([own], state)
        found = [each for some in rounds(engine) for each in some]
    assert [(each.step, each.metrics["val_loss"]) for each in found] == [(2, 2), (3, 3), (3, 3)]
    log = (tmp_path / "trial-0.log").read_text()
    assert log == ("run\nrun\nagain\n" if has_checkpoint else "run\nrun\n")


def test_a_new_trial_does_not_continue_an_old_one(tmp_path: Path) -> None:
    old = tmp_path / "trial-0" / "checkpoint"
    old.mkdir(parents=True)
    (old / "x").touch()
    (tmp_path / "trial-0.log").write_text("old")
    with workers(tmp_path) as engine:
        engine.admit([member(0, program("ls $ADAMTUNE_CHECKPOINT", report(1, 1)))])
        rounds(engine)
    assert not any(tmp_path.iterdir())


def test_total_steps(tmp_path: Path) -> None:
    with workers(tmp_path) as engine:
        engine.admit([member(0, program(report(5, 1), steps=10))])
        assert engine.advance()[0].total == 10


@pytest.mark.parametrize(
    ("count", "seeds", "slots", "processes"),
    [("auto", 1, 1, 1), ("auto", 3, 3, 1), (2, 1, 2, 2), (2, 3, 6, 2), (4, 2, 6, 4)],
)
def test_the_plan(count: Any, seeds: int, slots: int, processes: int) -> None:
    plan = workers_plan(count, seeds)
    assert (plan.slots, plan.threads) == (slots, processes)
    assert plan.for_trials(1, seeds, "auto", least=9).slots == 9


def test_python_prints_without_a_buffer(tmp_path: Path) -> None:
    script = tmp_path / "late.py"
    script.write_text("""import time\nprint('{"step": 1, "val_loss": 1}')\ntime.sleep(100)\n""")
    with workers(tmp_path) as engine:
        engine.admit([member(0, Program(("val_loss",), command=f"{sys.executable} {script}"))])
        assert places(engine.advance()) == [(0, 0, 1)]


def test_seconds_are_those_of_the_process(tmp_path: Path) -> None:
    with workers(tmp_path) as engine:
        engine.admit(
            [member(0, program("sleep 0.3", report(1, 1))), member(1, program("sleep 0.3", report(1, 1)))]
        )
        found = [each for some in rounds(engine) for each in some]
    seconds = [sum(each.seconds for each in found if each.member.trial == trial) for trial in (0, 1)]
    assert all(0.3 <= each < 5 for each in seconds)
