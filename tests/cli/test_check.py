"""``adamtune check`` and ``adamtune export``: exit codes, what is printed, and that it repeats."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.user_tasks import write_task

from .processes import PATIENCE, start
from .studies import TASK, Adamtune, write

GOOD = 0.1
DIVERGING = 1e4


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path


def config(lr: object = GOOD, name: str = "config.yaml", **changed: Any) -> Path:
    """A study file in the current folder with this learning rate."""
    return write(Path.cwd() / name, space={"lr": lr}, **changed)


def accepted(lr: object = GOOD, **changed: Any) -> Path:
    """A settings file in the current folder with this learning rate."""
    path = Path("accepted.json")
    path.write_text(json.dumps({"settings": {"optimizer": "sgd", "lr": lr}, "task": TASK} | changed))
    return path


@pytest.mark.parametrize("engine", ["population", "sequential"])
def test_equal_settings_pass(here: Path, adamtune: Adamtune, engine: str) -> None:
    ended = adamtune("check", config(engine=engine), "--baseline", accepted())
    assert ended.code == 0
    assert ended.out.startswith("Pass: val_loss ")
    assert ended.out.count("\n") == 1
    assert "Tolerated: 2% of the mean of accepted.json, " in ended.out
    assert "12 of at most 48 trainings" in ended.err
    assert {each.name for each in here.iterdir()} == {"config.yaml", "accepted.json"}  # no study


def test_workers_find_what_one_process_finds(here: Path, adamtune: Adamtune) -> None:
    """Seeds follow from the candidate's file, which is the same here."""
    candidate = accepted().rename("candidate.json")
    files = "--baseline", accepted(0.05), "--candidate", candidate
    alone = adamtune("check", config(), *files)
    together = adamtune("check", config(workers=2), *files)
    assert (together.code, together.out) == (0, alone.out)
    assert "in 2 workers with " in together.err


@pytest.mark.parametrize(
    ("candidate", "baseline", "code", "said"),
    [
        (1e-7, GOOD, 4, "Fail: val_loss "),
        (GOOD, 1e-7, 0, "Pass: val_loss "),
        (DIVERGING, GOOD, 4, "Fail. 10 of 10 trainings diverged, and 0 of 10 of accepted.json."),
        (DIVERGING, DIVERGING, 5, "Inconclusive. 24 of 24 trainings diverged, and 24 of 24 of"),
    ],
)
def test_the_exit_code_says_what_was_found(
    here: Path, adamtune: Adamtune, candidate: float, baseline: float, code: int, said: str
) -> None:
    ended = adamtune("check", config(candidate), "--baseline", accepted(baseline))
    assert (ended.code, ended.out[: len(said)]) == (code, said)


def test_a_larger_tolerance_takes_worse_settings(here: Path, adamtune: Adamtune) -> None:
    files = config(0.05), "--baseline", accepted()
    assert adamtune("check", *files, "--tolerance", "0.0001").code == 4
    assert adamtune("check", *files, "--tolerance", "1000%").code == 0


def test_two_runs_print_the_same_numbers(here: Path, adamtune: Adamtune) -> None:
    arguments = "check", config(0.05), "--baseline", accepted(), "--format", "json"
    first = adamtune(*arguments)
    assert first.out == adamtune(*arguments).out
    found = json.loads(first.out)
    assert found["outcome"] == "fail"
    assert found["candidate"]["mean"] - found["baseline"]["mean"] == pytest.approx(found["difference"])
    assert found["margin"] == pytest.approx(0.02 * found["baseline"]["mean"], rel=0.5)
    assert found["candidate"]["settings"]["lr"] == 0.05


def test_seeds_follow_from_the_file_of_the_candidate(here: Path, adamtune: Adamtune) -> None:
    file, arguments = config(), ("--baseline", accepted(), "--format", "json")
    means = [json.loads(adamtune("check", file, *arguments).out)["baseline"]["mean"]]
    file.write_text(file.read_text() + "# changed\n")
    means += [json.loads(adamtune("check", file, *arguments).out)["baseline"]["mean"]]
    assert means[0] != means[1]


def test_the_baseline_has_its_own_task_settings_but_the_data_of_the_study(
    here: Path, adamtune: Adamtune
) -> None:
    other = TASK | {"hidden": [64], "dataset": "friedman1"}
    ended = adamtune("check", config(), "--baseline", accepted(task=other), "--format", "json")
    plain = adamtune("check", config(), "--baseline", accepted(), "--format", "json")
    means = [json.loads(each.out)["baseline"]["mean"] for each in (ended, plain)]
    assert means[0] != means[1]


def test_a_candidate_may_be_a_settings_file(here: Path, adamtune: Adamtune) -> None:
    searched = write(here / "study.yaml")
    refused = adamtune("check", searched, "--baseline", accepted())
    assert refused.code == 2
    assert "study.yaml: space is searched (lr: {low: 0.01, high: 10000.0, log: true})" in refused.err
    assert adamtune("check", searched, "--candidate", accepted(), "--baseline", accepted()).code == 0


def test_changes_since_the_export_are_told(here: Path, adamtune: Adamtune) -> None:
    then = accepted(metric="val_r2", data_hash="0", recipe={"precision": "float64", "accumulate": 1})
    ended = adamtune("check", config(), "--baseline", then)
    assert "accepted.json was chosen by val_r2; this check compares val_loss." in ended.err
    assert "accepted.json was trained with precision float64; this check trains with float32." in ended.err
    assert "accumulate" not in ended.err
    assert "The data is not that of accepted.json: both are trained on the data of now." in ended.err


def test_other_data_are_refused(here: Path, adamtune: Adamtune) -> None:
    write_task(here, ("torch.randn(80", "torch.randn(80 * self.hidden"))
    task = {"name": "churn.py", "hidden": 4, "batch_size": 16, "epochs": 2}
    (here / "own.yaml").write_text(json.dumps({"name": "own", "task": task, "space": {"lr": 0.1}}))
    ended = adamtune("check", "own.yaml", "--baseline", accepted(task=task | {"hidden": 5}))
    assert ended.code == 2
    assert "the candidate and the baseline have different data" in ended.err
    assert "give hidden one value in both files" in ended.err
    assert adamtune("check", "own.yaml", "--baseline", accepted(task=task)).code == 0


BAD = {
    "not JSON": ("{", "accepted.json:1: not JSON: Expecting property name"),
    "a list": ("[]", "accepted.json:1: found []; allowed: a mapping of settings and task"),
    "no settings": ('{"task": {"name": "mlp"}}', "settings: is missing; allowed: a mapping of optimizer"),
    "no task": ('{"settings": {"optimizer": "sgd"}}', "task: is missing; allowed: a mapping of name"),
    "no optimizer": (
        '{"settings": {"lr": 1}, "task": {"name": "mlp"}}',
        "settings.optimizer: is missing; allowed: adabound",
    ),
    "unknown optimizer": (
        '{"settings": {"optimizer": "sdg"}, "task": {"name": "mlp"}}',
        "settings.optimizer: unknown optimizer 'sdg'; did you mean 'sgd'?",
    ),
    "value out of range": (
        '{"settings": {"optimizer": "sgd",\n "lr": -1}, "task": {"name": "mlp"}}',
        "accepted.json:2: settings.lr: found -1; allowed: (0, inf)",
    ),
    "a range": (
        '{"settings": {"optimizer": "sgd", "lr": [0.1, 0.2]}, "task": {"name": "mlp"}}',
        "settings.lr: found [0.1, 0.2]; allowed: one value: nothing is searched here",
    ),
    "another task": (
        '{"settings": {"optimizer": "sgd"}, "task": {"name": "cnn"}}',
        "task.name: found 'cnn'; allowed: mlp, the task that is checked",
    ),
    "a task setting out of range": (
        '{"settings": {"optimizer": "sgd"}, "task": {"name": "mlp", "epochs": 0}}',
        "task.epochs: found 0; allowed: integer in [1, ",
    ),
    "an unknown task setting": (
        '{"settings": {"optimizer": "sgd"}, "task": {"name": "mlp", "epoch": 1}}',
        "task.epoch: unknown setting of mlp 'epoch'; did you mean 'epochs'?",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_settings_file_is_told_with_its_key(here: Path, adamtune: Adamtune, case: str) -> None:
    text, message = BAD[case]
    Path("accepted.json").write_text(text)
    ended = adamtune("check", config(), "--baseline", "accepted.json")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "found [" not in ended.err or case in ("a list", "a range")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "config.yaml"], "give --better-than default for a study, or --baseline FILE"),
        (["check", "s", "--better-than", "default", "--tolerance", "1"], "go with --baseline FILE"),
        (["check", "config.yaml", "--baseline", "accepted.json", "--tolerance", "-1%"], "found '-1%'"),
        (["check", "config.yaml", "--baseline", "accepted.json", "--tolerance", "1e999"], "found '1e999'"),
        (
            ["check", "config.yaml", "--baseline", "none.json"],
            "none.json: no such file; give the path of a",
        ),
        (["check", "s", "--better-than", "default"], "runs/adamtune.db"),
        (["check", "s", "--better-than", "other"], "'default', 'baseline'"),
    ],
)
def test_a_wrong_command_line_is_told(
    here: Path, adamtune: Adamtune, arguments: list[str], message: str
) -> None:
    config(), accepted()
    ended = adamtune(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_ci_gets_junit_and_an_annotation(
    here: Path, adamtune: Adamtune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    file = config(1e-7, "100%,a.yaml")
    ended = adamtune("check", file.name, "--baseline", accepted(), "--junit", "j.xml", "--format", "json")
    assert ended.code == 4
    found = json.loads(ended.out)
    (case,) = ElementTree.parse(here / "j.xml").iter("testcase")
    (failure,) = case.iter("failure")
    assert case.get("name") == "100%,a.yaml is no worse than accepted.json"
    assert failure.get("message") == found["sentence"]
    annotation = ended.err.splitlines()[-1]
    assert annotation.startswith("::error file=100%25%2Ca.yaml,title=100%25%2Ca.yaml is no worse than")
    assert "(95 %25)" in annotation


def test_a_failed_training_is_an_error(here: Path, adamtune: Adamtune) -> None:
    command = shlex.join([sys.executable, "-c", "import sys; sys.exit('no data')"])
    task = {"command": command, "metrics": {"loss": "minimize"}, "parameters": ["lr"]}
    study = {"name": "c", "task": task | {"command": f"{command} {{lr}}"}, "space": {"lr": 0.1}}
    (here / "command.yaml").write_text(json.dumps(study))
    ended = adamtune("check", "command.yaml", "--baseline", accepted(task={"name": "command"}))
    assert (ended.code, ended.out) == (1, "")
    assert "a training of command.yaml failed: exit code 1\nno data" in ended.err


def test_ctrl_c_ends_it(here: Path) -> None:
    process = start("check", config(task={"epochs": 10_000}), "--baseline", accepted())
    assert process.stderr
    assert process.stdout
    try:
        assert any("checking: 0" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().endswith("Interrupted; nothing is kept. The same command begins anew.\n")
        assert (process.wait(PATIENCE), process.stdout.read()) == (130, "")
    finally:
        process.kill()
        process.communicate()


SEARCHED = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file of a study whose best trial is better than the default."""
    from adamtune.cli.main import run

    folder = tmp_path_factory.mktemp("better")
    path = write(folder / "study.yaml", space=SEARCHED, search={"confirm": "small"})
    assert run(["search", str(path)]) == 0
    return path


def test_a_better_study_passes(better: Path, adamtune: Adamtune) -> None:
    storage = better.parent / "studies.db"
    ended = adamtune("check", "s", "--better-than", "default", "--storage", storage)
    assert (ended.code, ended.out[:24]) == (0, "Better than the default:")
    ended = adamtune("check", "s", "--better-than", "baseline", "--storage", storage, "--format", "json")
    found = json.loads(ended.out)
    assert (found["outcome"], found["verdict"]["outcome"]) == ("pass", "better")


@pytest.mark.parametrize(
    "command", [["check", "s", "--better-than", "default"], ["export", "s", "--settings"]]
)
def test_stored_studies_need_neither_torch_nor_optuna(better: Path, here: Path, command: list[str]) -> None:
    file = ["accepted.json"] if command[0] == "export" else []
    arguments = [*command, *file, "--storage", str(better.parent / "studies.db")]
    code = (
        "import sys; from adamtune.cli.main import run; code = run(sys.argv[1:]);"
        " sys.exit(code or sum(name in sys.modules for name in ('torch', 'optuna')))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("confirm", "code"), [("small", 4), ("off", 5)])
def test_a_study_that_is_not_better(here: Path, adamtune: Adamtune, confirm: str, code: int) -> None:
    space, baseline = {"lr": {"low": 1e-7, "high": 1e-6}}, {"optimizer": "sgd", "lr": 0.1}
    search = {"confirm": confirm, "start": "none"}
    file = write(here / "study.yaml", space=space, baseline=baseline, search=search)
    assert adamtune("search", file).code == 0
    storage = "--storage", here / "studies.db"
    assert adamtune("check", "s", "--better-than", "baseline", *storage).code == code
    if code == 4:
        ended = adamtune("check", "s", "--better-than", "default", *storage)
        assert ended.code == 2
        assert "use --better-than baseline" in ended.err


def test_exported_settings_are_those_that_the_verdict_recommends(
    better: Path, here: Path, adamtune: Adamtune
) -> None:
    storage = "--storage", better.parent / "studies.db"
    ended = adamtune("export", "s", "--settings", "accepted.json", *storage)
    assert (ended.code, ended.out) == (0, "")
    trials = json.loads(adamtune("report", "s", "--format", "json", *storage).out)
    found = json.loads(Path("accepted.json").read_text())
    assert f"accepted.json: trial {found['trial']} of s. Better than the default" in ended.err
    (chosen,) = (each for each in trials["trials"] if each["number"] == found["trial"])
    assert found["trial"] == trials["verdict"]["candidate"]["trial"]
    assert (found["value"], found["settings"]["lr"]) == (chosen["value"], chosen["params"]["lr"])
    assert len(found["fresh_values"]) == trials["verdict"]["candidate"]["n"]
    assert found["task"]["hidden"] == [4]
    assert len(found["data_hash"]) == 64
    assert adamtune("check", better, "--candidate", "accepted.json", "--baseline", "accepted.json").code == 0
    assert adamtune("export", "s", "--settings", "accepted.json", "--trial", "0", *storage).code == 0
    assert json.loads(Path("accepted.json").read_text())["trial"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["digits-cnn", "--trial", "9"], 2, "study digits-cnn has no trial 9; it has 4, from 0"),
        (["digits-cnn", "--trial", "1"], 2, "trial 1 is diverged; choose a complete one"),
        (["empty"], 2, "study empty was not made by adamtune"),
        (["none"], 2, "there is no study none"),
    ],
)
def test_what_cannot_be_exported(
    here: Path, adamtune: Adamtune, storage: Path, arguments: list[str], code: int, message: str
) -> None:
    ended = adamtune("export", *arguments, "--settings", "accepted.json", "--storage", storage)
    assert ended.code == code
    assert message in ended.err
    assert not Path("accepted.json").exists()


def test_a_database_is_never_overwritten(here: Path, adamtune: Adamtune, storage: Path) -> None:
    assert adamtune("export", "digits-cnn", "--settings", storage, "--storage", storage).code == 3
    ended = adamtune("check", config(), "--baseline", accepted(), "--junit", storage)
    assert ended.code == 3
