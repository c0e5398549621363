"""A study from its file to its trials: totals, timeouts, resuming, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from adamtune.analysis.ranking import rank
from adamtune.config import StudyConfig
from adamtune.errors import AdamtuneError, Refused, UsageError
from adamtune.reports.files import to_json
from adamtune.search import preparation as module
from adamtune.search.progress import Progress
from adamtune.search.run import resume, run
from adamtune.search.samplers import per_trial
from adamtune.storage.local.storage import LocalStorage
from adamtune.storage.studies import list_studies, read_study

from .studies import ENGINES, GRID, SPACE, WILD, in_optuna, interrupt, searched, study, trials


def quiet(progress: Progress) -> None:
    """Observes nothing."""


def report(file: StudyConfig) -> dict[str, Any]:
    """The JSON report, but for wall time."""
    ranking = rank(read_study(file.storage, file.name))
    written: dict[str, Any] = json.loads(to_json(ranking, ranking.rows))
    for each in written["trials"]:
        assert each.pop("seconds") > 0
    return written


# The same study twice


@pytest.mark.parametrize(("engine", "sampler"), [("population", "tpe"), ("sequential", "cmaes")])
def test_two_runs_give_the_same_report(engine: str, sampler: str, folder: Path, another: Path) -> None:
    files = [
        study(each, search={"trials": 20, "sampler": sampler}, space=SPACE, **ENGINES[engine])
        for each in (folder, another)
    ]
    for file in files:
        searched(file)
    one, other = (report(file) for file in files)
    assert one == other
    assert len(one["trials"]) == 20


@pytest.mark.parametrize("engine", ENGINES)
def test_optuna_reads_what_is_reported(engine: str, folder: Path) -> None:
    file = study(folder, search={"trials": 20, "pruner": "median"}, space=SPACE, **ENGINES[engine])
    searched(file)
    found = {each["number"]: each for each in report(file)["trials"]}
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.PRUNED}
    seen = in_optuna(file)
    assert [each.number for each in seen] == sorted(found)
    for each in seen:
        ours = found[each.number]
        assert each.state == states[ours["state"]]
        assert each.value == ours["value"]
        assert {str(step): value for step, value in each.intermediate_values.items()} == ours["intermediate"]
        assert each.user_attrs["settings"] == ours["params"]
        assert each.params.items() <= ours["params"].items()


def test_what_is_kept_with_the_study(folder: Path) -> None:
    file = study(folder)
    searched(file)
    kept = read_study(file.storage, file.name)
    assert kept.study_file == file.text
    assert kept.study == file.canonical()
    assert kept.study_hash == file.hash
    assert kept.versions.keys() == {"python", "torch", "optuna", "adamtune"}
    assert len(kept.data_hash or "") == 64


# How many, and how long


def test_the_same_command_again_does_nothing_more(folder: Path) -> None:
    file = study(folder)
    first = run(file, quiet)
    before = trials(file)
    second = run(file, quiet)
    assert (first.reason, first.progress.done, first.progress.ended) == ("complete", 8, 8)
    assert (second.reason, second.progress.done, second.progress.ended) == ("already_complete", 8, 0)
    assert second.progress.best == first.progress.best
    assert trials(file) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_trials_is_the_studys_total(engine: str, folder: Path, another: Path) -> None:
    """With one trial at a time, the extended study is the one that was as large from the start."""

    def file(folder: Path, trials: int) -> StudyConfig:
        return study(folder, search={"trials": trials}, **ENGINES[engine])

    assert len(searched(file(folder, 5))) == 5
    outcome = run(file(folder, 12), quiet)
    assert (outcome.progress.total, outcome.progress.done, outcome.progress.ended) == (12, 12, 7)
    extended = trials(file(folder, 12))
    assert [each["settings"] for each in extended] == [
        each["settings"] for each in searched(file(another, 12))
    ]
    if engine == "sequential":
        assert extended == trials(file(another, 12))


def test_fewer_trials_than_there_are_is_nothing_to_do(finished: Path) -> None:
    assert run(study(finished, search={"trials": 3}), quiet).reason == "already_complete"
    assert len(trials(study(finished))) == 8


def test_a_grid_ends_with_its_last_combination(folder: Path) -> None:
    file = study(folder, search={"sampler": "grid", "trials": 1000}, space=GRID)
    first = run(file, quiet)
    assert (first.reason, first.progress.total, first.progress.done) == ("complete", 12, 12)
    assert run(file, quiet).reason == "already_complete"


def test_a_grid_tries_a_combination_again_whose_trial_failed(folder: Path) -> None:
    file = study(folder, search={"sampler": "grid", "trials": 1000}, space=GRID)
    interrupt(file, 3)
    assert run(file, quiet, abandon=True).reason == "complete"
    found = read_study(file.storage, "s").trials
    tried = [each.params for each in found if each.state != "failed"]
    assert len(tried) == 12 < len(found)
    assert len({json.dumps(each, sort_keys=True) for each in tried}) == 12
    assert run(file, quiet).reason == "already_complete"


def test_trials_whose_checkpoint_is_lost_are_given_up_when_told_so(folder: Path) -> None:
    file = study(folder, population=4, space=SPACE)
    before = interrupt(file, 1)
    (checkpoint,) = folder.glob("*.ckpt")
    checkpoint.unlink()
    with pytest.raises(AdamtuneError, match=r"it is missing.*--abandon"):
        run(file, quiet)
    assert resume(file.storage, "s", {}, quiet, abandon=True).reason == "complete"
    found = trials(file)
    given_up = [each["number"] for each in before if each["state"] == "running"]
    assert [each["number"] for each in found if each["state"] == "failed"] == given_up
    assert len(found) - len(given_up) == 8
    assert [each for each in before if each["state"] != "running"] == [
        each for each in found if each["number"] < len(before) and each["number"] not in given_up
    ]


def test_a_trial_that_another_program_runs_is_not_waited_for(finished: Path) -> None:
    file = study(finished)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.storage}")
    optuna.load_study(study_name="s", storage=storage).ask()
    storage.engine.dispose()
    assert resume(file.storage, "s", {"search.trials": 10}, quiet).reason == "complete"
    assert [each["state"] for each in trials(file)] == ["complete"] * 8 + ["running"] + ["complete"] * 2


@pytest.mark.parametrize("pruner", ["none", "hyperband"])
def test_a_diverged_trial_is_bad_whatever_the_pruner(
    pruner: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[FrozenTrial] = []
    real = per_trial._as_bad_as
    monkeypatch.setattr(per_trial, "_as_bad_as", lambda *given: shown.append(real(*given)) or shown[-1])
    search = {"sampler": "cmaes", "pruner": pruner, "trials": 24}
    searched(study(folder, search=search, space={"lr": WILD}))
    assert shown


def test_room_is_for_the_trials_that_are_asked_for(folder: Path) -> None:
    """A population of more would take memory for nothing, and may grow with the trials."""
    file = study(folder, population=10**6, search={"trials": 3})
    searched(file)
    assert resume(file.storage, "s", {"search.trials": 9}, quiet).reason == "complete"


def test_a_study_goes_on_where_its_device_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study(folder)
    interrupt(file, 1)
    monkeypatch.setattr(module, "is_available", lambda device: False)
    with pytest.raises(UsageError, match="begun on cpu, which is not available here"):
        run(file, quiet)
    monkeypatch.undo()
    assert len(searched(file)) == 8


def test_a_study_that_cannot_begin_is_not_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    file = study(folder, device="mps")
    with pytest.raises(UsageError, match="mps is not available"):
        run(file, quiet)
    assert list_studies(file.storage) == []


def test_what_a_study_was_begun_with_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study(folder)
    interrupt(file, 1)
    monkeypatch.setattr("adamtune.__version__", "99")
    searched(file)
    with closing(LocalStorage(Path(file.storage))) as storage:
        (kept,) = storage.get_all_studies()
    assert kept.user_attrs["versions"]["adamtune"] != "99"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_timeout_ends_cleanly_and_a_later_run_goes_on(engine: str, folder: Path, another: Path) -> None:
    def file(folder: Path, **search: Any) -> StudyConfig:
        search = {"trials": 12, "sampler": "tpe"} | search
        return study(folder, task={"epochs": 60}, space=SPACE, search=search, **ENGINES[engine])

    runs = 0
    # Longer each time: on a busy machine 0.1 s may pass before the first step.
    while run(file(folder, timeout=0.1 * 1.1**runs), quiet).reason == "timeout":
        runs += 1
    assert trials(file(folder)) == searched(file(another))
    assert runs > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_interruptions_change_nothing(engine: str, folder: Path, another: Path) -> None:
    def file(folder: Path) -> StudyConfig:
        return study(folder, search={"trials": 20, "sampler": "tpe"}, space=SPACE, **ENGINES[engine])

    halves = [interrupt(file(folder), done) for done in (1, 7, 12)]
    assert [len(each) < 20 for each in halves] == [True] * 3
    whole = searched(file(folder))
    assert whole == searched(file(another))
    for half in halves:
        finished = [each for each in half if each["state"] != "running"]
        assert finished == [whole[each["number"]] for each in finished]


def test_an_interruption_commits_and_leaves_a_checkpoint_that_goes_in_the_end(folder: Path) -> None:
    file = study(folder, population=4)
    states = {each["state"] for each in interrupt(file, 2)}
    assert "running" in states or len(trials(file)) == 4
    assert len(list(folder.glob("*.ckpt"))) == ("running" in states)
    searched(file)
    assert list(folder.glob("*.ckpt*")) == []


# Without the file


def test_resuming_without_the_file(folder: Path, another: Path) -> None:
    def file(folder: Path) -> StudyConfig:
        return study(folder, search={"trials": 12, "sampler": "tpe", "seeds": 2}, space=SPACE, population=4)

    interrupt(file(folder), 3)
    outcome = resume(file(folder).storage, "s", {}, quiet)
    assert (outcome.reason, outcome.progress.done) == ("complete", 12)
    assert trials(file(folder)) == searched(file(another))
    assert read_study(file(folder).storage, "s").study_file == file(folder).text


def test_resuming_with_more_trials(finished: Path) -> None:
    file = study(finished)
    assert resume(file.storage, "s", {}, quiet).reason == "already_complete"
    outcome = resume(file.storage, "s", {"search.trials": 11}, quiet)
    assert (outcome.reason, outcome.progress.total, len(trials(file))) == ("complete", 11, 11)
    assert (read_study(file.storage, "s").study or {})["search"]["trials"] == 11


def test_wrong_overrides_name_their_option(finished: Path) -> None:
    file = study(finished)
    with pytest.raises(UsageError, match="--timeout: found 'soon'"):
        resume(file.storage, "s", {"search.timeout": "soon"}, quiet)


def test_resuming_a_study_that_is_not_there(finished: Path) -> None:
    file = study(finished)
    with pytest.raises(UsageError, match=r"there is no study t\..*Studies there: s"):
        resume(file.storage, "t", {}, quiet)


def test_a_moved_database_goes_on(folder: Path) -> None:
    """With its checkpoint, under any name: nothing in it says where it was."""
    file = study(folder, search={"trials": 12}, population=4)
    interrupt(file, 3)
    for path in list(folder.glob("studies.db*")):
        path.rename(folder / path.name.replace("studies", "moved"))
    assert resume(str(folder / "moved.db"), "s", {}, quiet).reason == "complete"


# Refusals


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "space": ({"space": {"lr": {"low": 1e-3, "high": 2.0, "log": True}}}, r"space\.lr.*0\.1.*2\.0"),
    "task": ({"task": {"epochs": 6}}, r"task.*epochs.*5.*6"),
    "optimizer": ({"optimizer": "adam"}, "sgd.*adam"),
    "seed": ({"search": {"seed": 1}}, r"search\.seed.*0.*1"),
    "seeds": ({"search": {"seeds": 2}}, r"search\.seeds.*1.*2"),
    "sampler": ({"search": {"sampler": "random"}}, r"search\.sampler.*qmc.*random"),
    "pruner": ({"search": {"pruner": "asha"}}, r"search\.pruner.*none.*asha"),
    "objective": ({"objective": {"metric": "val_r2"}}, r"objective\.metric.*val_loss.*val_r2"),
    "engine": ({"engine": "sequential"}, "engine.*auto.*sequential"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_study_file_is_refused_with_the_difference(name: str, finished: Path) -> None:
    changed, difference = CHANGES[name]
    before = read_study(study(finished).storage, "s")
    with pytest.raises(
        Refused, match=rf"(?s)study s exists in .*other settings:\n.*{difference}.*another name"
    ):
        run(study(finished, **changed), quiet)
    assert read_study(study(finished).storage, "s") == before


def test_another_name_is_another_study(finished: Path) -> None:
    before = trials(study(finished))
    changed, _ = CHANGES["task"]
    assert len(searched(study(finished, name="t", **changed))) == 8
    assert trials(study(finished)) == before


def test_trials_and_timeout_may_change(finished: Path) -> None:
    searched(study(finished, search={"trials": 9, "timeout": "1h"}))


def test_other_data_are_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trials(study(finished))
    monkeypatch.setattr("adamtune.tasks.loaded.fingerprint", lambda *tensors: "f" * 64)
    with pytest.raises(
        Refused, match=r"study s was trained on other data: .* now it is ffffffffffff.*another name"
    ):
        run(study(finished, search={"trials": 9}), quiet)
    assert trials(study(finished)) == before


def test_a_study_of_another_program_is_refused(folder: Path) -> None:
    file = study(folder)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file.storage}")
    theirs = optuna.create_study(storage=storage, study_name="s")
    theirs.tell(theirs.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), 1.0)
    storage.remove_session()
    storage.engine.dispose()
    for use in (lambda: run(file, quiet), lambda: resume(file.storage, "s", {}, quiet)):
        with pytest.raises((Refused, UsageError), match="adamtune"):
            use()
    assert [each.value for each in in_optuna(file)] == [1.0]
    assert len(searched(study(folder, name="ours"))) == 8
    assert [each.value for each in in_optuna(file)] == [1.0]


@pytest.mark.parametrize("metric", ["val_loss", "val_r2"])
def test_a_process_killed_before_its_first_commit_leaves_a_study_that_can_be_run(
    metric: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with another objective: nothing of it was kept but its name and its direction."""

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("adamtune.storage.open_session.write_study", die)
        with pytest.raises(KeyboardInterrupt):
            run(study(folder), quiet)
    assert read_study(study(folder).storage, "s").study is None
    file = study(folder, objective={"metric": metric})
    assert len(searched(file)) == 8
    assert read_study(file.storage, "s").direction == file.objective.direction


def test_the_plan_is_made_once(folder: Path, another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that goes on where there are more cores goes on as it began."""

    def file(folder: Path, name: str = "s") -> StudyConfig:
        return study(folder, name=name, search={"trials": 64, "sampler": "tpe"}, space=SPACE)

    interrupt(file(folder), 20)
    monkeypatch.setattr("adamtune.engines.plan.cores", lambda: 5)
    resumed = searched(file(folder))
    monkeypatch.undo()
    assert resumed == searched(file(another))


Observer = Callable[[Progress], None]


def test_watchers_are_told_all_the_way(folder: Path) -> None:
    told: list[Progress] = []
    file = study(folder, search={"trials": 12, "seeds": 2}, space=SPACE, population=4)
    outcome = run(file, told.append)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert sum(len(each.last_batch) for each in told) == 12
    for each in told:
        assert sum(each.counts.values()) == each.done + each.counts["running"]
        assert 0 <= each.under_way <= each.counts["running"]
        assert each.counts["running"] <= 2
    best = outcome.progress.best
    complete = [each for each in trials(file) if each["state"] == "complete"]
    assert best is not None
    assert best.value == min(each["value"] for each in complete)
    assert best.settings == trials(file)[best.number]["settings"]
