"""The answer of a check for CI: as JSON, as JUnit XML, and as an annotation of GitHub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree

from adamtune.analysis.gate import ROLES, Gate
from adamtune.analysis.ranking import Ranking
from adamtune.config.settings_file import Trained
from adamtune.errors import FAILED, INCONCLUSIVE
from adamtune.reports.files import verdict_values

Outcome = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: Mapping[Outcome, int] = {"pass": 0, "fail": FAILED, "inconclusive": INCONCLUSIVE}
LEVELS: Mapping[Outcome, str] = {"pass": "notice", "fail": "error", "inconclusive": "warning"}
VERDICTS: Mapping[str, Outcome] = {"better": "pass", "more_reliable": "pass", "not_confirmed": "inconclusive"}
"""The outcome of a check by that of a study's verdict; all others fail."""

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Check:
    """The answer of a check.

    Attributes:
        claim: what is checked, such as ``config.yaml is no worse than accepted.json``.
        outcome: whether it holds.
        sentence: the answer in words, on one line.
        values: more keys of the JSON form.
        file: the file that is checked; None for a study.
    """

    claim: str
    outcome: Outcome
    sentence: str
    values: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return EXIT_CODES[self.outcome]

    def to_json(self) -> str:
        """Strict JSON on one line."""
        head = {"claim": self.claim, "outcome": self.outcome, "sentence": self.sentence}
        return json.dumps({**head, **self.values}, ensure_ascii=False, allow_nan=False)

    def to_junit(self) -> str:
        """JUnit XML of one test case, which is skipped where the check is inconclusive."""
        counts = {"failures": self.outcome == "fail", "skipped": self.outcome == "inconclusive"}
        known = {"name": "adamtune check", "tests": "1", "errors": "0"}
        suites = ElementTree.Element("testsuites")
        attributes = known | {name: str(int(count)) for name, count in counts.items()}
        suite = ElementTree.SubElement(suites, "testsuite", attributes)
        case = ElementTree.SubElement(suite, "testcase", classname="adamtune", name=_xml(self.claim))
        if self.outcome != "pass":
            kind = "failure" if self.outcome == "fail" else "skipped"
            ElementTree.SubElement(case, kind, message=_xml(self.sentence))
        ElementTree.SubElement(case, "system-out").text = _xml(self.sentence)
        ElementTree.indent(suites)
        return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, "unicode")}\n'

    def annotation(self) -> str:
        """The line that GitHub Actions shows at the job, and at the file."""
        file = f"file={_property(self.file)}," if self.file else ""
        return f"::{LEVELS[self.outcome]} {file}title={_property(self.claim)}::{_message(self.sentence)}"


def _xml(text: str) -> str:
    """The text without the characters that no XML may have."""
    return NOT_IN_XML.sub("\ufffd", text)


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def check_of_study(ranking: Ranking, against: str) -> Check:
    """Whether a study's best trial is better than its baseline, by the stored trainings.

    Args:
        ranking: of the study.
        against: what the baseline is called.
    """
    study, verdict = ranking.study, ranking.verdict
    if verdict is None:
        outcome, sentence = "not_confirmed", "Not confirmed: no trial is complete."
    else:
        outcome, sentence = verdict.outcome, verdict.sentence
    claim = f"{study.name} is better than {against}"
    values = {"study": study.name, "verdict": verdict_values(verdict)}
    return Check(claim, VERDICTS.get(outcome, "fail"), sentence, values)


def check_of_gate(gate: Gate, candidate: Trained, baseline: Trained, file: str) -> Check:
    """Whether a candidate is no worse than a baseline, by trainings of both.

    Args:
        gate: the trainings.
        candidate, baseline: what was trained.
        file: the path of the candidate's file.
    """
    judgement = gate.judgement
    outcome: Any = judgement.outcome
    means = judgement.candidate_mean, judgement.baseline_mean
    failures = judgement.candidate_failures, judgement.baseline_failures
    sides = {
        role: {"file": side.name, "mean": mean, "diverged": diverged, "settings": side.settings}
        for role, side, mean, diverged in zip(ROLES, (candidate, baseline), means, failures, strict=True)
    }
    values = {
        "metric": gate.metric,
        "direction": gate.direction,
        "tolerance": gate.tolerance.text,
        "margin": gate.margin if judgement.n else None,
        **sides,
        "difference": judgement.difference,
        "interval": judgement.interval,
        "level": judgement.level,
        "pairs": judgement.pairs,
        "n": judgement.n,
    }
    claim = f"{candidate.name} is no worse than {baseline.name}"
    return Check(claim, outcome, gate.sentence(baseline.name), values, file)
