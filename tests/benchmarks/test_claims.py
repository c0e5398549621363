"""The claims about tuning Adam: their study files, their table in the documentation, when a claim holds."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adamtune.analysis.ablations import Effect
from adamtune.config import load_study
from benchmarks import claims
from benchmarks.claims import FAILS, FILES, HOLDS, OPEN, PAGE, RULES, read_claim, read_rows
from benchmarks.processes import ROOT

FOLDER = ROOT / "configs" / "claims"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_study_files_are_good(path: Path) -> None:
    schema, command, *_ = path.read_text().splitlines()
    up = "../" * len(path.relative_to(FOLDER).parts)
    assert schema == f"# yaml-language-server: $schema={up}study.schema.json"
    assert command == f"# Run: adamtune search {path.relative_to(ROOT)}"
    load_study(path)


def test_every_claim_has_its_row() -> None:
    rows = read_rows(PAGE.read_text(encoding="utf-8"))
    assert list(rows) == list(FILES)
    for name, row in rows.items():
        claim = read_claim(FILES[name].read_text())
        assert claim.holds_if in RULES
        assert row.startswith(f"| {claim.said} | [{name}]")


TUNED = [
    (name, found)
    for name, path in FILES.items()
    for found in re.findall(r"tuning/([\w-]+)\.yaml", path.read_text())
]


@pytest.mark.parametrize(("name", "tuning"), TUNED)
def test_a_baseline_is_tuned_on_the_same_task(name: str, tuning: str) -> None:
    claim, tuned = load_study(FILES[name]), load_study(FOLDER / "tuning" / f"{tuning}.yaml")
    assert isinstance(claim.baseline, dict)
    assert tuned.task.settings == claim.task.settings
    if claim.search.sampler == "grid":
        assert tuned.search.trials == claim.search.trials  # as many learning rates on both sides
    assert tuned.optimizers == (claim.baseline["optimizer"],)
    assert claim.baseline["lr"] in tuned.space.optimizers[tuned.optimizers[0]]["lr"].values  # type: ignore[union-attr]


def verdict(outcome: str, low: float, high: float) -> Any:
    """A verdict against a baseline with a loss of 10."""
    return SimpleNamespace(outcome=outcome, interval=(low, high), baseline=SimpleNamespace(mean=10.0))


@pytest.mark.parametrize(
    ("rule", "found", "expected"),
    [
        ("better", verdict("better", -0.2, -0.1), HOLDS),
        ("better", verdict("more_reliable", -1, 1), HOLDS),
        ("better", verdict("worse", 0.1, 0.2), FAILS),
        ("better", verdict("less_reliable", -1, 1), FAILS),
        ("better", verdict("no_difference", -0.19, 1), FAILS),
        ("better", verdict("no_difference", -0.21, 1), OPEN),
        ("little difference", verdict("better", -0.19, -0.1), HOLDS),
        ("little difference", verdict("no_difference", -0.21, 0.1), OPEN),
        ("little difference", verdict("better", -0.3, -0.21), FAILS),
    ],
)
def test_when_a_claim_holds(rule: str, found: Any, expected: str) -> None:
    assert RULES[rule](found, []) == expected


def test_a_verdict_without_values_shows_nothing() -> None:
    found: Any = SimpleNamespace(outcome="not_confirmed", interval=None, baseline=None)
    assert {rule(found, []) for rule in RULES.values()} == {OPEN}


def effect(setting: str, low: float, high: float) -> Effect:
    return Effect(setting, (low + high) / 2, (low, high), 10, 0.01, 0)


@pytest.mark.parametrize(
    ("other", "expected"), [((0.0, 0.9), HOLDS), ((0.5, 1.5), OPEN), ((2.1, 3.0), FAILS)]
)
def test_when_lr_matters_most(other: tuple[float, float], expected: str) -> None:
    effects = [effect("beta1", *other), effect("lr", 1.0, 2.0)]
    assert RULES["lr matters most"](verdict("better", -2, -1), effects) == expected
    assert claims.described(effects)[0].startswith("Put back, on 10 seeds: ")


def test_the_rows_of_other_claims_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text(
        "# Claim: a large lr is better\n# Holds if: better\nname: tiny\n"
        "task: {name: mlp, samples: 200, epochs: 2}\nspace: {lr: 1e-2}\n"
        "baseline: {lr: 1e-6}\nsearch: {trials: 1, confirm: 10}\n"
    )
    page = tmp_path / "claims.md"
    old = "| other | [old](../configs/claims/old.yaml) | holds | Better. | 12 |"
    page.write_text(f"before\n<!-- claims -->\n{old}\n<!-- end -->\nafter\n")
    monkeypatch.setattr(claims, "FILES", {"old": study, "tiny": study})
    monkeypatch.setattr(claims, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["claims", "tiny", "--folder", str(tmp_path)])
    claims.main()
    rows = read_rows(page.read_text())
    assert rows["old"] == old
    head = "| a large lr is better | [tiny](../configs/claims/tiny.yaml) | holds | Better than the baseline"
    assert rows["tiny"].startswith(head)
    assert rows["tiny"].endswith(" | 11 |")
    assert page.read_text().startswith("before\n<!-- claims -->\n")
    assert page.read_text().endswith("<!-- end -->\nafter\n")
