"""Answers of checks in the forms that CI reads."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from adamtune.reports.checks import EXIT_CODES, Check, Outcome

WILD = "a<b>&\"'\x07\ud800 100%, 5:\r\nline two"


@pytest.mark.parametrize("outcome", EXIT_CODES)
def test_junit_has_one_case_and_no_character_that_xml_refuses(outcome: Outcome) -> None:
    check = Check(f"claim {WILD}", outcome, f"said {WILD}")
    root = ElementTree.fromstring(check.to_junit().encode())
    (suite,) = root.iter("testsuite")
    (case,) = suite.iter("testcase")
    assert (case.get("name") or "").startswith("claim a<b>&\"'\ufffd\ufffd 100%, 5:")
    kinds = [each.tag for each in case if each.tag != "system-out"]
    assert kinds == {"pass": [], "fail": ["failure"], "inconclusive": ["skipped"]}[outcome]
    counts = {name: int(suite.get(name) or 0) for name in ("tests", "failures", "skipped", "errors")}
    assert counts == {
        "tests": 1,
        "failures": int(outcome == "fail"),
        "skipped": int(outcome == "inconclusive"),
        "errors": 0,
    }


@pytest.mark.parametrize(
    ("outcome", "level", "code"),
    [("pass", "notice", 0), ("fail", "error", 4), ("inconclusive", "warning", 5)],
)
def test_annotations_are_escaped(outcome: Outcome, level: str, code: int) -> None:
    check = Check("a:b,c", outcome, "100%: one,\r\ntwo", file="d,e:f%.yaml")
    expected = f"::{level} file=d%2Ce%3Af%25.yaml,title=a%3Ab%2Cc::100%25: one,%0D%0Atwo"
    assert (check.annotation(), check.exit_code) == (expected, code)


def test_json_is_strict() -> None:
    found = json.loads(Check("c", "pass", "s", {"interval": (1.0, 2.0)}).to_json())
    assert found == {"claim": "c", "outcome": "pass", "sentence": "s", "interval": [1.0, 2.0]}
