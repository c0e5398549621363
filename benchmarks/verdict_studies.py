"""Whether the verdicts of whole studies are true: searches, confirmations, and the truth of each comparison.

    python -m benchmarks.verdict_studies                 # 50 studies of each kind: about 6 minutes
    python -m benchmarks.verdict_studies --studies 10

A study trains a small perceptron on 128 rows of its own (benchmarks/problems.py: Friedman) for 80 steps. All
confirmations have the same seeds, whatever the seed of the search. So each study has rows of its own, and its
starting weights are drawn from the training seed and the number of the study: studies are independent. Every
other one has test rows, and its verdict is about new rows.

no difference: what is searched is another draw of the starting weights from the same distribution. The best
of them is compared with draw 0, at the same lr: the truth is 0. identical: clip_norm is searched where no
gradient reaches it: the truth is 0 with each seed. lr: the lr is searched, and the baseline has one of BASES;
the truth is the mean difference with 200 seeds that no study uses, with test rows on 10,000 new rows.

wrong: "better" where it is not. coverage: of the truth by the interval. trainings: the median of the
confirmations. % of trainings, % of time: the median cost of a confirmation, of the search's.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev
from time import perf_counter
from typing import Any

from adamtune.analysis.verdict import Side, Verdict, verdict
from adamtune.config import StudyConfig, parse_study
from adamtune.engines.plan import cores
from adamtune.engines.population.engine import Population
from adamtune.search.progress import Progress
from adamtune.search.run import run
from adamtune.search.trial import Tasks, member
from adamtune.storage.studies import read_study
from benchmarks.command_line import parser
from benchmarks.problems import Friedman
from benchmarks.tables import machine, table

LR = 0.01
BASES = (0.003, 0.01, 0.015, 0.02, 0.05)
"""The learning rates of the baselines of the studies of lr, in turn."""
LEARNING_RATES = {"low": 1e-3, "high": 1e-1, "log": True}
SPACES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "no difference": ({"lr": LR, "task": {"draw": list(range(16))}}, {"sampler": "grid", "trials": 16}),
    "identical": ({"lr": LR, "clip_norm": {"low": 1e6, "high": 1e9, "log": True}}, {"trials": 24}),
    "lr": ({"lr": LEARNING_RATES}, {"trials": 24}),
}
"""The space of each kind, and its search."""
TEST_ROWS = 100
TRUTH_SEED, TRUTH_SEEDS = 2**33, 200
"""The seed of the trainings that measure the truth, which no search or confirmation has, and how many."""
NEW_ROWS = 10_000
GAPS = (0.25, 0.5, 1.0, 2.0, float("inf"))
"""The ends of the ranges of gaps."""


@dataclass(frozen=True)
class Study:
    """A study that has ended.

    Attributes:
        kind: its key in ``SPACES``.
        has_test: whether its verdict is about new rows.
        truth: the true difference, winner minus baseline.
        gap: the difference in standard deviations of the paired difference of one seed, positive where the
            winner is better.
        costs: the trainings and the seconds of the search and of the confirmation.
    """

    kind: str
    has_test: bool
    verdict: Verdict
    truth: float
    gap: float
    costs: tuple[tuple[int, float], tuple[int, float]]

    @property
    def covers(self) -> bool | None:
        """Whether the interval has the truth; None without one."""
        if self.verdict.interval is None:
            return None
        return self.verdict.interval[0] - 1e-12 <= self.truth <= self.verdict.interval[1] + 1e-12


def main() -> None:
    """Prints the error rates, the power by gap, and the check of the construction."""
    options = arguments()
    print(f"{machine()}; {options.studies} studies of each kind, confirm: {options.confirm}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        studies = list(all_studies(Path(folder), options))
    header = ("kind", "rows", "studies", "pairs", "better", "worse", "wrong", "coverage", "trainings")
    print(table((*header, "% of trainings", "% of time"), list(rates(studies))), flush=True)
    print("\nStudies of lr by the true gap:\n")
    print(table(("gap", "rows", "studies", "better", "in %"), list(power(studies))), flush=True)


def arguments(given: Sequence[str] | None = None) -> Namespace:
    options = parser("verdict_studies", __doc__)
    options.add_argument("--studies", type=int, default=50, help="of each kind; 50 by default")
    options.add_argument("--confirm", choices=("small", "full"), default="small", help="small by default")
    options.add_argument("--kinds", nargs="+", choices=[*SPACES], default=[*SPACES], metavar="KIND")
    options.add_argument("--details", action="store_true", help="a line for each study, too")
    return options.parse_args(given)


def all_studies(folder: Path, options: Namespace) -> Iterator[Study]:
    for kind in options.kinds:
        # The studies of one kind have data of their own, too.
        for number in range(options.studies):
            made = study(folder, kind, number, options.confirm)
            if options.details:
                found = made.verdict
                print(
                    f"{kind} {number}: {found.outcome}, {found.difference} in {found.interval}, truth"
                    f" {made.truth:.3g}, {made.gap:.2f} sd",
                    flush=True,
                )
            yield made


def study(folder: Path, kind: str, number: int, confirm: str) -> Study:
    """Runs a study with its confirmation, and measures the truth of its verdict."""
    config = study_config(folder, kind, number, confirm)
    costs = timed(lambda observe: run(config, observe))
    found = verdict(read_study(config.storage, config.name))
    assert found is not None
    searched, confirmed = config.trials, 0 if found.confirmation is None else found.confirmation.done
    truth, gap = (0.0, 0.0) if kind != "lr" or found.difference is None else true_difference(config, found)
    return Study(kind, bool(number % 2), found, truth, gap, ((searched, costs[0]), (confirmed, costs[1])))


def study_config(folder: Path, kind: str, number: int, confirm: str) -> StudyConfig:
    space, search = SPACES[kind]
    data_seed = 1000 * list(SPACES).index(kind) + number
    document = {
        "name": f"{kind} {number}".replace(" ", "-"),
        "task": {
            "name": "benchmarks.problems:Friedman",
            "data_seed": data_seed,
            "test_rows": TEST_ROWS * (number % 2),
        },
        "space": space,
        "search": {**search, "seed": number, "confirm": confirm, "ablate": "off"},
        "baseline": {"lr": BASES[number // 2 % len(BASES)] if kind == "lr" else LR},
        "storage": str(folder / "studies.db"),
        "device": "cpu",
    }
    return parse_study(json.dumps(document), __name__)


def timed(search: Callable[[Callable[[Progress], None]], object]) -> tuple[float, float]:
    """The seconds that a search takes until its confirmation begins, and those of the confirmation."""
    confirming: list[float] = []

    def observe(progress: Progress) -> None:
        if progress.stage and not confirming:
            confirming.append(perf_counter())

    before = perf_counter()
    search(observe)
    after = perf_counter()
    began = confirming[0] if confirming else after
    return began - before, after - began


def true_difference(config: StudyConfig, found: Verdict) -> tuple[float, float]:
    """The mean difference on seeds that no study uses, and the gap in standard deviations."""
    assert found.candidate is not None
    assert found.baseline is not None
    values = true_values(config, (found.candidate, found.baseline))
    differences = [one - other for one, other in zip(*values, strict=True)]
    return fmean(differences), -fmean(differences) / stdev(differences)


def true_values(config: StudyConfig, sides: Sequence[Side]) -> list[list[float]]:
    """The loss of each side with each of the seeds: on new rows where the study has test rows."""
    tasks = Tasks(config)
    engine = Population(TRUTH_SEEDS * len(sides), threads=cores())
    members = []
    for side in sides:
        task = tasks.of(side.settings)
        if task.test is not None:
            new = Friedman(data_seed=10**6, test_rows=NEW_ROWS).data().test
            task = replace(task, test=new).with_holdouts({"new": slice(NEW_ROWS)})
        else:
            task = task.with_holdouts({})
        members += [member(0, side.settings, task, TRUTH_SEED, number) for number in range(TRUTH_SEEDS)]
    engine.admit(members)
    name = "new/loss" if tasks.of(sides[0].settings).test is not None else "val_loss"
    values = [each.metrics[name] for each in engine.advance()]
    return [values[:TRUTH_SEEDS], values[TRUTH_SEEDS:]]


def rates(studies: Sequence[Study]) -> Iterator[tuple[object, ...]]:
    """A row for each kind with and without test rows; ``pairs``: studies whose pairs were trained."""
    for kind in SPACES:
        for has_test in (False, True):
            own = [each for each in studies if (each.kind, each.has_test) == (kind, has_test)]
            if own:
                yield (kind, rows_name(has_test), len(own), *figures(own))


def figures(studies: Sequence[Study]) -> tuple[object, ...]:
    judged = [each for each in studies if each.verdict.difference is not None]
    outcomes = [each.verdict.outcome for each in judged]
    wrong = sum(each.verdict.outcome == "better" and each.gap <= 0 for each in judged)
    covered = [each.covers for each in judged if each.covers is not None]
    shares = [
        [100 * spent / max(searched, 1e-9) for searched, spent in zip(*each.costs, strict=True)]
        for each in judged
    ]
    return (
        *(len(judged), outcomes.count("better"), outcomes.count("worse"), wrong),
        fmean(covered) if covered else None,
        median(each.costs[1][0] for each in judged) if judged else None,
        *(median(column) for column in zip(*shares, strict=True)),
    )


def power(studies: Sequence[Study]) -> Iterator[tuple[object, ...]]:
    """A row for each range of the true gap of studies of lr."""
    for low, high in zip((-float("inf"), 0.0, *GAPS), (0.0, *GAPS), strict=False):
        for has_test in (False, True):
            own = [
                each.verdict.outcome == "better"
                for each in studies
                if each.kind == "lr" and each.has_test == has_test and low < each.gap <= high
            ]
            if own:
                name = f"{low:g} to {high:g} sd"
                yield name, rows_name(has_test), len(own), sum(own), 100 * fmean(own)


def rows_name(has_test: bool) -> str:
    return "new" if has_test else "validation"


if __name__ == "__main__":
    main()
