"""How often the verdict is wrong, and how often it finds a difference: simulated confirmations of searches.

    python -m benchmarks.verdicts                    # 2,000 studies a row: about 2 minutes
    python -m benchmarks.verdicts --studies 200

A study draws seeds, with replacement, of trainings that were really made: data/verdicts.npz has the val_loss
of many settings with many seeds, [settings, seeds], the first row being AdamW's defaults (version 0.1.0: mlp
on diabetes and friedman1, 30 epochs; cnn on digits; transformer on text). One seed of each setting is the
search; the best of it are trained again on fresh seeds, and the candidate is compared with the defaults, by
the functions that a study uses. The true difference is that of the rows' means.

as trained: the data themselves. no effect: every setting is moved to the mean of the defaults, with its own
noise. 0.5, 1, 2 sd: then improved by so many standard deviations of its paired difference. noisy: no effect,
with the noise of every other setting three times as large. skewed: no effect, differences from a gamma
distribution of skewness 1, positive or negative. diverging: each training diverges with probability 0.2;
unreliable: those of settings diverge with probability 0.5, the defaults never.

wrong: "better" where it is not. coverage: of the true difference by the interval, at whatever look it ended.
Each figure is the worst of the data sets, but better and trainings are from the lowest to the highest.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamtune.analysis.finalists import choose
from adamtune.analysis.looks import FULL, GATE, SMALL, Plan, plan_for
from adamtune.analysis.paired import Judgement, gate, judge
from benchmarks.command_line import parser
from benchmarks.tables import table

Array = NDArray[np.float64]
PLANS: Mapping[str, Plan] = {"full": FULL, "small": SMALL, "20 trainings": plan_for(20)}
EFFECTS = (0.5, 1.0, 2.0)
EXPLODING = 5.0
"""A setting whose differences spread by more of the defaults' standard deviations is not moved: 4 of 184."""


class Scenario(NamedTuple):
    """Settings to search among: the losses [settings, seeds] of the defaults and then of each setting."""

    name: str
    losses: Array
    diverging: tuple[float, float] = (0.0, 0.0)  # the probabilities of the defaults and of the settings


def main() -> None:
    arguments = parse()
    rng = np.random.default_rng(arguments.seed)
    print(f"{arguments.studies} studies a row\n", flush=True)
    header = ("settings", "plan", "wrong", "better", "worse", "unreliable", "coverage", "trainings")
    print(table(header, list(confirmations(arguments.studies, rng))), flush=True)
    print("\nThe gate, normal differences of standard deviation 1:\n")
    print(
        table(("margin", "truth", "pass", "fail", "pairs"), list(gates(arguments.studies, rng))), flush=True
    )
    print("\nThe difference that a judgement calls detectable, where it is the truth:\n")
    print(table(("plan", "in sd", "found"), list(detections(arguments.studies, rng))))


def parse() -> argparse.Namespace:
    options = parser("verdicts", __doc__)
    options.add_argument("--studies", type=int, default=2000, help="of each row; 2000 by default")
    options.add_argument("--seed", type=int, default=0, help="of the simulation; 0 by default")
    return options.parse_args()


def scenarios(rng: np.random.Generator) -> Iterator[Scenario]:
    with np.load(Path(__file__).parent / "data" / "verdicts.npz") as data:
        trained = {name: data[name].astype(np.float64) for name in data.files}
    for losses in trained.values():
        yield Scenario("as trained", losses)
        yield Scenario("no effect", moved(losses))
        yield from (Scenario(f"{effect:g} sd", moved(losses, effect)) for effect in EFFECTS)
        noisy = moved(losses)
        noisy[1::2] = noisy[0].mean() + 3 * (noisy[1::2] - noisy[0].mean())
        yield Scenario("noisy", noisy)
    defaults = rng.standard_normal((1, 1000))
    gamma = (rng.gamma(4, size=(64, 1000)) - 4) / 2
    yield Scenario("skewed", moved(np.vstack([defaults, defaults + gamma])))
    yield Scenario("skewed", moved(np.vstack([defaults, defaults - gamma])))
    for losses in trained.values():
        yield Scenario("no effect, diverging", moved(losses), (0.2, 0.2))
        yield Scenario("1 sd, diverging", moved(losses, 1.0), (0.2, 0.2))
        yield Scenario("1 sd, unreliable", moved(losses, 1.0), (0.0, 0.5))


def moved(losses: Array, effect: float = 0.0) -> Array:
    """The settings at the mean of the defaults, less ``effect`` standard deviations of their difference."""
    deviation = (losses - losses[:1]).std(1, keepdims=True)
    centred = losses - losses.mean(1, keepdims=True) + losses[0].mean() - effect * deviation
    kept: Array = centred[deviation[:, 0] <= EXPLODING * losses[0].std()]
    return kept


def confirmations(studies: int, rng: np.random.Generator) -> Iterator[tuple[object, ...]]:
    """A row for each kind of settings and each plan."""
    by_name: dict[str, list[Scenario]] = {}
    for scenario in scenarios(rng):
        by_name.setdefault(scenario.name, []).append(scenario)
    for name, data in by_name.items():
        for plan in PLANS:
            figures = np.array([shares(scenario, PLANS[plan], studies, rng) for scenario in data])
            low, high = figures.min(0), figures.max(0)
            better, trainings = (f"{low[at]:.3g} to {high[at]:.3g}" for at in (1, 5))
            if len(data) == 1:
                better, trainings = (f"{low[at]:.3g}" for at in (1, 5))
            yield (name, plan, float(high[0]), better, *map(float, high[2:4]), float(low[4]), trainings)


def shares(scenario: Scenario, plan: Plan, studies: int, rng: np.random.Generator) -> list[float]:
    """The shares of wrong verdicts and of three outcomes, the coverage, and the mean number of trainings."""
    judgements = [
        (each, truth) for each, truth in (confirm(scenario, plan, rng) for _ in range(studies)) if each
    ]
    outcomes = Counter(each.outcome for each, _ in judgements)
    wrong = sum(each.outcome == "better" and truth >= -1e-9 for each, truth in judgements)
    intervals = [(each.interval, truth) for each, truth in judgements if each.interval]
    covered = [low - 1e-9 <= truth <= high + 1e-9 for (low, high), truth in intervals]
    pairs = np.mean([each.pairs for each, _ in judgements])
    return [
        wrong / studies,
        *(outcomes[each] / studies for each in ("better", "worse", "less_reliable")),
        float(np.mean(covered)),
        plan.finalists * plan.seeds + 2 * float(pairs),
    ]


def confirm(scenario: Scenario, plan: Plan, rng: np.random.Generator) -> tuple[Judgement | None, float]:
    """The verdict on the search's best, and the true difference; None if every finalist diverged."""
    losses = scenario.losses
    searched = 1 + rng.permutation(len(losses) - 1)[:64]
    order = searched[np.argsort(losses[searched, rng.integers(losses.shape[1])])]
    fresh = {
        int(trial): trained(scenario, int(trial), rng.integers(0, losses.shape[1], plan.seeds), rng)
        for trial in order[: plan.finalists]
    }
    chosen = choose(fresh, "minimize")
    if chosen is None:
        return None, 0.0
    seeds = rng.integers(0, losses.shape[1], plan.looks[-1])
    judgement = judge(
        trained(scenario, chosen, seeds, rng), trained(scenario, 0, seeds, rng), "minimize", plan
    )
    return judgement, float(losses[chosen].mean() - losses[0].mean())


def trained(
    scenario: Scenario, trial: int, seeds: NDArray[np.int64], rng: np.random.Generator
) -> list[float]:
    """The losses of a setting with these seeds; NaN where it diverges."""
    diverges = rng.random(len(seeds)) < scenario.diverging[trial > 0]
    return list(np.where(diverges, np.nan, scenario.losses[trial, seeds]))


def gates(studies: int, rng: np.random.Generator) -> Iterator[tuple[object, ...]]:
    for margin in (0.75, 1.0):
        for name, truth in (("equal", 0.0), ("worse by the margin", -margin), ("better by 1 sd", 1.0)):
            zeros = [0.0] * GATE.looks[-1]
            draws = rng.standard_normal((studies, GATE.looks[-1])) + truth
            judged = [gate(list(-gains), zeros, "minimize", margin) for gains in draws]
            outcomes = Counter(each.outcome for each in judged)
            shares = [outcomes[each] / studies for each in ("pass", "fail")]
            yield f"{margin} sd", name, *shares, float(np.mean([each.pairs for each in judged]))


def detections(studies: int, rng: np.random.Generator) -> Iterator[tuple[object, ...]]:
    for name, plan in PLANS.items():
        effect = (plan.bounds[-1] + 1.0) / plan.looks[-1] ** 0.5
        draws = rng.standard_normal((studies, plan.looks[-1])) + effect
        zeros = [0.0] * plan.looks[-1]
        found = [judge(list(-gains), zeros, "minimize", plan).outcome == "better" for gains in draws]
        yield name, effect, float(np.mean(found))


if __name__ == "__main__":
    main()
