"""The gate: which trainings it makes, on which seeds, and when it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adamtune.analysis.gate import ROLES, Gate, Tolerance, read_tolerance
from adamtune.config.baseline import fixed_settings
from adamtune.config.settings_file import Trained
from adamtune.engines.base import Evaluation, Member
from adamtune.engines.sequential import Sequential
from adamtune.errors import UsageError
from adamtune.search import gate as module
from adamtune.search.gate import SEED, run_gate
from adamtune.search.trial import Tasks, member
from tests.search.studies import ENGINES, study

TWO_PERCENT = Tolerance("2%", 0.02, True)


def trained(folder: Path, lr: float, text: str = "", **task: Any) -> Trained:
    file = study(folder, space={"lr": lr})
    return Trained("x", fixed_settings(file.space), {**file.task.settings, **task}, text)


@pytest.mark.parametrize("engine", ENGINES)
def test_pairs_are_plain_trainings_on_common_seeds(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each result is that of a training of its own, without the loop, and on a seed that no study has."""
    file, seeds = study(tmp_path, space={"lr": 0.1}, **ENGINES[engine]), set()

    def noted(*arguments: Any) -> Member:
        made = member(*arguments)
        seeds.add(made.seed)
        return made

    monkeypatch.setattr(module, "member", noted)
    sides = dict(zip(ROLES, (trained(tmp_path, 0.05), trained(tmp_path, 0.1, hidden=[8])), strict=True))
    gate = run_gate(file, *sides.values(), TWO_PERCENT, lambda progress: None)
    (seed,) = seeds
    assert SEED <= seed < SEED + 2**32
    assert gate.results.keys() == set(ROLES)
    assert gate.judgement.pairs == len(gate.results["candidate"]) == len(gate.results["baseline"])
    tasks, number = Tasks(file), 3
    for role, side in sides.items():
        task = tasks.load(tasks.entry.settings.model_validate(side.task))
        alone = plain(member(0, side.settings, task, seed, number))
        assert gate.results[role][number] == pytest.approx(dict(alone.metrics), rel=1e-4)


def plain(training: Member) -> Evaluation:
    engine = Sequential(1)
    engine.admit([training])
    while not (evaluation := engine.advance()[0]).finished:
        pass
    return evaluation


def gate_of(candidate: list[float], baseline: list[float], tolerance: Tolerance) -> Gate:
    gate = Gate("val_loss", "minimize", tolerance)
    for role, values in zip(ROLES, (candidate, baseline), strict=True):
        gate.results[role] = {number: {"val_loss": value} for number, value in enumerate(values)}
    return gate


NOISE = [0.1, -0.2, 0.15, -0.1, 0.05, 0.0, 0.2, -0.15, 0.1, -0.15]


def test_a_share_is_one_of_the_first_look() -> None:
    """Later trainings leave the margin as it is, or an earlier look would say something else."""
    baseline = [-2.0, -4.0, -3.0, -3.0, -2.0, -4.0, 100.0]
    assert gate_of(baseline, baseline, TWO_PERCENT).margin == pytest.approx(0.06)
    assert gate_of(baseline, baseline, Tolerance("0.5", 0.5, False)).margin == 0.5
    late = [float("nan"), *baseline]
    assert gate_of(late, late, TWO_PERCENT).margin == pytest.approx(0.06)


def test_a_share_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="baseline's mean val_loss is 0, of which 2% is 0; give a number"):
        gate_of([1.0] * 6, [0.0] * 6, TWO_PERCENT).missing()


@pytest.mark.parametrize(
    ("shift", "outcome", "pairs"), [(0.0, "pass", 6), (0.9, "pass", 10), (2.5, None, 10), (5.0, "fail", 6)]
)
def test_it_stops_at_the_first_look_that_decides(shift: float, outcome: str | None, pairs: int) -> None:
    """The margin is 0.5, and the candidate is worse by a tenth of ``shift``."""
    baseline = [10.0 + each for each in NOISE]
    candidate = [10.0 + shift * 0.1 + each for each in reversed(NOISE)]
    for seeds in (6, 10):
        gate = gate_of(candidate[:seeds], baseline[:seeds], Tolerance("5%", 0.05, True))
        if not gate.missing():
            break
    assert (gate.judgement.outcome, gate.judgement.pairs) == (outcome, pairs)
    wanted = [] if outcome else [number for number in range(10, 16) for _ in ROLES]
    assert [each.number for each in gate.missing()] == wanted


@pytest.mark.parametrize(
    ("text", "amount", "is_share"),
    [("2%", 0.02, True), ("0.002", 0.002, False), (" 1.5 % ", 0.015, True), ("1e-3", 1e-3, False)],
)
def test_tolerances(text: str, amount: float, is_share: bool) -> None:
    assert read_tolerance(text) == Tolerance(text.strip(), amount, is_share)


@pytest.mark.parametrize("text", ["", "%", "2 percent", "-1", "0", "0%", "nan", "inf", "1e999", "٢%"])
def test_wrong_tolerances(text: str) -> None:
    with pytest.raises(UsageError, match="allowed: a percentage of the baseline's mean above 0, such as 2%"):
        read_tolerance(text)


def test_means_of_both_are_in_the_sentence() -> None:
    better, worse = [1 + each for each in NOISE[:6]], [10 + each for each in reversed(NOISE[:6])]
    said = gate_of(better, worse, TWO_PERCENT).sentence("accepted.json")
    assert said.startswith("Pass: val_loss 1.00 against 10.00, lower by 9.00 [")
    assert said.endswith("Tolerated: 2% of the mean of accepted.json, 0.2.")
