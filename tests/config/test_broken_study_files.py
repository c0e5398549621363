"""Every broken study file: all its problems at once, with line, key path and message, in order."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_study_files import BROKEN, GOOD, Broken

from adamtune.config import StudyConfig, load_study, override_search, parse_study
from adamtune.errors import StudyFileError


def problems_of(text: str, overrides: dict[str, object] | None = None) -> tuple[str, ...]:
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "x.yaml", overrides or {})
    return caught.value.problems


def test_there_are_many_and_their_names_differ():
    assert len({each.name for each in BROKEN}) == len(BROKEN) >= 40


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_every_problem_comes_with_its_place(case: Broken):
    remaining = list(problems_of(case.text))
    for line, path, fragment in case.problems:
        start = f"x.yaml:{line}: {path}: " if path else f"x.yaml:{line}: "
        matching = [each for each in remaining if each.startswith(start) and fragment in each]
        assert len(matching) == 1, (start, fragment, remaining)
        remaining.remove(matching[0])
    assert remaining == []


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_problems_are_plain_lines_in_the_order_of_the_file(case: Broken):
    problems = problems_of(case.text)
    lines = [int(each.split(":")[1]) for each in problems]
    assert lines == sorted(lines)
    assert not any("\n" in each or "pydantic" in each.lower() or "Value error" in each for each in problems)


def test_a_missing_file_names_a_near_one(tmp_path: Path):
    (tmp_path / "digits.yaml").write_text(GOOD)
    with pytest.raises(StudyFileError, match=r"digit\.yaml: no such file; did you mean .*digits\.yaml\?"):
        load_study(tmp_path / "digit.yaml")


def test_a_directory(tmp_path: Path):
    with pytest.raises(StudyFileError, match="cannot be read: Is a directory"):
        load_study(tmp_path)


def test_not_utf8(tmp_path: Path):
    (tmp_path / "x.yaml").write_bytes(b"name: x\ntask: \xff\n")
    with pytest.raises(
        StudyFileError, match=r"x\.yaml:2: not UTF-8: found byte 0xff; save the file as UTF-8"
    ):
        load_study(tmp_path / "x.yaml")


def test_nested_too_deeply():
    assert problems_of("[" * 5000)[0].startswith("x.yaml:1: not a study: nested too deeply")


def test_aliases_that_multiply():
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12)]
    assert "an alias holds itself or too much" in problems_of("\n".join(rows))[0]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("search.trials", 0, "--trials: found 0; allowed: integer in [1, 1000000]"),
        ("search.trials", "1000001", "--trials: found 1000001; allowed: integer in [1, 1000000]"),
        ("search.trials", "1e3", "--trials: found 1e3; allowed: integer in [1, 1000000]"),
        ("search.trials", "many", "--trials: found 'many'; allowed: integer in [1, 1000000]"),
        ("search.trials", "010", "--trials: found '010', which YAML 1.1 reads as 8; write 8 or 10"),
        ("search.trials", "1" * 6000, "--trials: found 11111"),
        ("search.timeout", "0", "--timeout: found 0; allowed: (0, inf) or a duration such as 90s, 30m or 1h"),
        ("search.timeout", "1e999", "--timeout: found 1e999; allowed: (0, inf) or a duration"),
        ("search.timeout", "1:30", "--timeout: found '1:30', which YAML 1.1 reads as 90; write 90; allowed"),
        ("search.timeout", "soon", "--timeout: found 'soon'; allowed: a number of seconds above 0, or a dur"),
        ("search.seed", -1, "--seed: found -1; allowed: integer in [0, 4294967295]"),
        ("name", "a/b", "--name: found 'a/b'; allowed: up to 100 letters"),
        ("storage", "", "--storage: found ''; allowed: a file, a journal, or a database URL"),
    ],
)
def test_an_override_is_blamed_by_its_option_and_first(path: str, value: object, message: str):
    problems = problems_of(GOOD + "search: {trials: 0, timeout: x, seed: -1}\nsarch: 1\n", {path: value})
    assert problems[0].startswith(message)
    assert "sarch" in problems[-1]


def test_a_broken_section_is_the_problem_not_the_override():
    problems = problems_of(GOOD + "search: [1]\n", {"search.trials": 3})
    assert problems == (
        "x.yaml:3: search: found [1]; allowed: a mapping of " + problems[0].split("mapping of ")[1],
    )


def stored() -> StudyConfig:
    return parse_study(GOOD + "search: {trials: 5, timeout: 2s, seeds: 3}\n", "x.yaml")


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("search.trials", "8", 8),
        ("search.trials", " 8 ", 8),
        ("search.timeout", "60", 60),
        ("search.timeout", " 60 ", 60),
        ("search.timeout", "60.5", 60.5),
        ("search.timeout", "1e2", 100),
        ("search.timeout", "1h30m", 5400),
    ],
)
def test_options_take_what_the_file_takes(path: str, text: str, value: float):
    key = path.removeprefix("search.")
    in_file = parse_study(GOOD + f"search: {{{key}: {text}}}\n", "x.yaml")
    by_option = parse_study(GOOD, "x.yaml", {path: text})
    assert getattr(in_file.search, key) == getattr(by_option.search, key) == value
    resumed = override_search(stored(), {path: text})
    assert resumed.search == stored().search.model_copy(update={key: value})
    assert (resumed.space, resumed.text) == (stored().space, stored().text)


@pytest.mark.parametrize(
    ("overrides", "problems"),
    [
        ({"search.trials": 0}, ["--trials: found 0; allowed: integer in [1, 1000000]"]),
        (
            {"search.trials": "0", "search.timeout": "x"},
            ["--trials: found 0; allow", "--timeout: found 'x'; al"],
        ),
        ({"search.timeout": "\udce4"}, ["--timeout: found '\\udce4', which is not UTF-8; allowed: text"]),
    ],
)
def test_overrides_of_a_stored_study_are_checked_as_those_of_a_file(
    overrides: dict[str, object], problems: list[str]
):
    with pytest.raises(StudyFileError) as caught:
        override_search(stored(), overrides)
    for found, start in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(start)
    assert str(caught.value) == "\n".join(caught.value.problems)
