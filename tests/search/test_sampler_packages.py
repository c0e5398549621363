"""A sampler whose packages are missing: nothing is begun, and the message names the extra."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from adamtune.errors import AdamtuneError
from adamtune.search.run import run
from adamtune.search.samplers import per_trial

from .studies import study

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("sampler", per_trial.EXTRAS)
def test_a_missing_package_is_named_with_its_extra(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = per_trial.EXTRAS[sampler][0]
    monkeypatch.setattr(per_trial, "find_spec", lambda name: None if name == gone else object())
    with pytest.raises(AdamtuneError, match=rf"needs {gone}, not installed .*adamtune\[{sampler}\]"):
        run(study(tmp_path, search={"sampler": sampler}), lambda progress: None)
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("sampler", per_trial.EXTRAS)
def test_the_extra_installs_what_is_asked_for(sampler: str) -> None:
    extra: list[Any] = PROJECT["optional-dependencies"][sampler]
    assert {Requirement(each).name for each in extra} == set(per_trial.EXTRAS[sampler])
    required = {Requirement(each).name for each in PROJECT["dependencies"]}
    assert not required & set(per_trial.EXTRAS[sampler])
