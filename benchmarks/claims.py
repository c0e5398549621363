"""What tutorials say about tuning Adam, as studies with a verdict: the table of docs/claims.md.

    python -m benchmarks.claims                          # every claim: 4 minutes on 2 cores
    python -m benchmarks.claims decay-cosine radam       # these alone; the rows of the others stay
    python -m benchmarks.claims --folder runs/claims     # keeps the studies, and continues them

A claim is a study file in configs/claims, whose head says what is claimed and when it holds.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import inf
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from adamtune.analysis.ablations import Effect
from adamtune.analysis.verdict import Verdict, verdict
from adamtune.config import load_study
from adamtune.reports.text import significant
from adamtune.storage.studies import read_study
from benchmarks.command_line import parser
from benchmarks.processes import ROOT
from benchmarks.tables import machine

FILES = {path.stem: path for path in sorted((ROOT / "configs" / "claims").glob("*.yaml"))}
PAGE = ROOT / "docs" / "claims.md"
TABLE = re.compile(r"(?<=<!-- claims -->\n).*?(?=<!-- end -->)", re.DOTALL)
HEADER = "| claim | study file | | verdict | trainings |\n| --- | --- | --- | --- | ---: |\n"

LITTLE = 0.02
"""The part of the baseline's loss below which a difference is little."""
HOLDS, FAILS, OPEN = "holds", "does not hold", "not shown here"


class Claim(NamedTuple):
    """A claim, as the head of its study file has it.

    Attributes:
        said: the claim.
        holds_if: a name in ``RULES``: what the verdict of the study must be.
    """

    said: str
    holds_if: str


def read_claim(text: str) -> Claim:
    """The claim of a study file."""
    said, holds_if = (re.search(rf"^# {key}: (.+)$", text, re.MULTILINE) for key in ("Claim", "Holds if"))
    assert said, "no line '# Claim: ...'"
    assert holds_if, "no line '# Holds if: ...'"
    return Claim(said[1], holds_if[1])


def is_better(found: Verdict, effects: Sequence[Effect]) -> str:
    """Whether the study's settings are better or more reliable than the baseline.

    Not if they are worse, or if the interval leaves little to be gained.
    """
    if found.outcome in ("better", "more_reliable"):
        return HOLDS
    _, most = gains(found)
    return FAILS if found.outcome in ("worse", "less_reliable") or most < LITTLE else OPEN


def is_little(found: Verdict, effects: Sequence[Effect]) -> str:
    """Whether the interval leaves little to be gained over the baseline."""
    least, most = gains(found)
    return HOLDS if most < LITTLE else FAILS if least > LITTLE else OPEN


def gains(found: Verdict) -> tuple[float, float]:
    """The interval of the gain over the baseline, as parts of the baseline's loss."""
    if found.interval is None or found.baseline is None or found.baseline.mean is None:
        return -inf, inf
    low, high = found.interval
    return -high / found.baseline.mean, -low / found.baseline.mean


def lr_is_largest(found: Verdict, effects: Sequence[Effect]) -> str:
    """Whether the best trial loses more with lr put back than with any other setting put back."""
    ends = {each.setting: each.interval or (-inf, inf) for each in effects}
    if "lr" not in ends:
        return OPEN
    low, high = ends.pop("lr")
    if all(low > other for _, other in ends.values()):
        return HOLDS
    return FAILS if any(other > high for other, _ in ends.values()) else OPEN


RULES = {"better": is_better, "little difference": is_little, "lr matters most": lr_is_largest}


def main() -> None:
    options = parser("claims", __doc__)
    options.add_argument("claims", nargs="*", choices=[*FILES, []], metavar="CLAIM", help=", ".join(FILES))
    options.add_argument("--folder", type=Path, help="where the studies are kept; by default nowhere")
    arguments = options.parse_args()
    rows = read_rows(PAGE.read_text(encoding="utf-8"))
    with folder(arguments) as storage:
        for name in arguments.claims or FILES:
            began = perf_counter()
            rows[name] = row(name, Path(storage, "claims.db"))
            print(f"{rows[name]}  ({perf_counter() - began:.0f} s)", flush=True)
            write(rows)


def folder(arguments: argparse.Namespace) -> nullcontext[Path] | tempfile.TemporaryDirectory[str]:
    """The folder of the studies."""
    return nullcontext(arguments.folder) if arguments.folder else tempfile.TemporaryDirectory()


def row(name: str, storage: Path) -> str:
    """Runs a study; its row of the table."""
    from adamtune.search.run import run

    path = FILES[name]
    config = load_study(path, {"storage": str(storage)})
    run(config, lambda progress: None)
    study = read_study(str(storage), config.name)
    found = verdict(study)
    assert found is not None
    effects = found.confirmation.effects if found.confirmation else []
    trainings = len(study.trials) + (found.confirmation.done if found.confirmation else 0)
    claim = read_claim(path.read_text(encoding="utf-8"))
    said = " ".join([shortened(found.sentence), *described(effects)])
    cells = (claim.said, link(name), RULES[claim.holds_if](found, effects), said, trainings)
    return "| " + " | ".join(map(str, cells)) + " |"


def shortened(said: str) -> str:
    """A verdict in words without what is much the same in all of them."""
    left_out = ("The interval is for", "None of", "Searched")
    sentences = said.removesuffix(".").split(". ")
    return ". ".join(each for each in sentences if not each.startswith(left_out)) + "."


def described(effects: Sequence[Effect]) -> list[str]:
    """What the best trial loses with each setting put back, the largest loss first."""
    if not effects:
        return []
    ordered = sorted(effects, key=lambda each: -(inf if each.difference is None else each.difference))
    return [f"Put back, on {effects[0].n} seeds: {'; '.join(map(_effect, ordered))}."]


def _effect(effect: Effect) -> str:
    if effect.difference is None or effect.interval is None:
        return f"{effect.setting} diverged"
    low, high = (significant(end, 2) for end in effect.interval)
    return f"{effect.setting} {significant(effect.difference, 2)} [{low}, {high}]"


def link(name: str) -> str:
    return f"[{name}](../configs/claims/{name}.yaml)"


def read_rows(page: str) -> dict[str, str]:
    """The rows of the page's table, by the name of the claim."""
    return {
        found[2]: found[1] for found in re.finditer(r"^(\|.*/([\w-]+)\.yaml\) \|.*)$", page, re.MULTILINE)
    }


def write(rows: Mapping[str, str]) -> None:
    """Writes the table, in the order of the files."""
    table = HEADER + "".join(f"{rows[name]}\n" for name in FILES if name in rows)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: f"\nMeasured on {machine()}.\n\n{table}\n", page), encoding="utf-8")


if __name__ == "__main__":
    main()
