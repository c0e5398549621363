from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest

from adamtune.analysis.ranking import BASELINE, Ranking, Row, rank
from adamtune.reports.console import console, show_scatter
from adamtune.reports.scatter import scatter

from .records import study, trial

SPACE = {"optimizers": {"adamw": {"lr": {"low": 1e-4, "high": 0.1, "log": True, "integer": False}}}}


def ranking(direction: str = "minimize", count: int = 12) -> Ranking:
    """Trials of a falling, then rising loss over lr; one far worse, one pruned, two diverged."""
    sign = 1 if direction == "minimize" else -1
    lrs = [10 ** (-4 + 0.25 * number) for number in range(count)]
    trials = [
        trial(number, sign * (0.1 + 0.05 * abs(math.log10(lr / 0.01))), searched=("lr",), lr=lr)
        for number, lr in enumerate(lrs)
    ]
    others = [
        trial(count, sign * 2.0, searched=("lr",), lr=2e-4),
        trial(count + 1, sign * 0.1, "pruned", searched=("lr",), lr=2e-3),
        *(trial(count + n, state="diverged", searched=("lr",), lr=0.1) for n in (2, 3)),
        trial(count + 4, state="running", searched=("lr",), lr=0.1),
    ]
    return rank(replace(study(*trials, *others, direction=direction), study={"space": SPACE}))


def drawn(ranking: Ranking, width: int = 60, unicode: bool = False) -> list[str]:
    return [line.plain for line in scatter(ranking, width, unicode)]


def test_value_against_lr_in_ascii() -> None:
    assert drawn(ranking()) == [
        "val_loss against lr, 13 complete trials:",
        "   diverged |                                              x",
        "     pruned |                    x",
        "   > 0.2000 |     x",
        "     0.2000 |*",
        "            |    *",
        "            |        *",
        "            |           *",
        "            |               *",
        "     0.1444 |",
        "            |                   *                      *",
        "            |                       *              *",
        "            |                           *      *",
        "     0.1000 |                               B",
        "            +---------------D-------------------------------",
        "             1e-4         0.001           0.01           0.1",
        "             B best, trial 8   D default, lr 0.001",
    ]


def test_value_against_lr_in_braille() -> None:
    assert drawn(ranking(), unicode=True) == [
        "val_loss against lr, 13 complete trials:",
        "   diverged │                                              x",
        "     pruned │                    x",
        "   > 0.2000 │     x",
        "     0.2000 │⠁",
        "            │    ⠂",
        "            │       ⠠",
        "            │           ⢀",
        "            │               ⢀",
        "     0.1444 │",
        "            │                   ⠈                      ⠈",
        "            │                       ⠂               ⠂",
        "            │                           ⠄       ⠄",
        "     0.1000 │                               B",
        "            └───────────────D───────────────────────────────",
        "             1e-4         0.001           0.01           0.1",
        "             B best, trial 8   D default, lr 0.001",
    ]


def test_the_worse_end_of_a_maximized_metric_is_the_lower_one() -> None:
    assert drawn(ranking("maximize")) == [
        "val_loss against lr, 13 complete trials:",
        "    -0.1000 |                               B",
        "            |                           *      *",
        "            |                       *              *",
        "            |                   *                      *",
        "            |",
        "    -0.1556 |               *",
        "            |           *",
        "            |        *",
        "            |    *",
        "    -0.2000 |*",
        "  < -0.2000 |     x",
        "     pruned |                    x",
        "   diverged |                                              x",
        "            +---------------D-------------------------------",
        "             1e-4         0.001           0.01           0.1",
        "             B best, trial 8   D default, lr 0.001",
    ]


def baseline_of(value: float | None) -> property:
    state = "complete" if value is not None else "diverged"
    return property(lambda self: Row(None, trial(BASELINE, value, state, lr=1e-3)))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (0.1, "    0.1000 |               D               B"),
        (0.4, "  > 0.2000 |     x         D"),
        (None, "           +---------------D-------------------------------"),
    ],
)
def test_the_baseline_is_marked_where_it_is(
    monkeypatch: pytest.MonkeyPatch, value: float | None, line: str
) -> None:
    monkeypatch.setattr(Ranking, "baseline", baseline_of(value))
    lines = drawn(ranking())
    assert [each for each in lines[:-1] if "D" in each] == [f" {line}"]
    assert lines[-1] == "             B best, trial 8   D baseline, lr 0.001"


def plotted(**settings: list[object]) -> list[str]:
    """The plot of trials with these settings, of which ``eps`` decides."""
    trials = [
        trial(
            number,
            0.1 + number / 100,
            searched=("eps", *settings),
            eps=1e-8 * (number + 1),
            **{name: values[number % len(values)] for name, values in settings.items()},
        )
        for number in range(20)
    ]
    return drawn(rank(study(*trials)))


def test_lr_is_plotted_though_another_setting_decides() -> None:
    title, *_, ticks, legend = plotted(lr=[1e-3, 2e-3, 1e-2, 5e-3])
    assert title == "val_loss against lr, 20 complete trials:"
    assert ticks.split() == ["0.001", "0.00325", "0.0055", "0.00775", "0.01"]
    assert legend.split() == ["B", "best,", "trial", "0", "D", "default,", "lr", "0.001"]


def test_without_lr_the_most_important_number_is_plotted() -> None:
    title, *_, ticks, legend = plotted(beta2=[0.9, 0.99, 0.999], schedule=["cosine", "constant"])
    assert title == "val_loss against eps, 20 complete trials:"
    assert ticks.split() == ["1e-8", "1e-7", "2e-7"]
    assert legend.endswith("D default, eps 1e-8")


def test_a_searched_distance_from_one_is_plotted_as_such() -> None:
    trials = [
        replace(trial(n, 0.1 + n, beta1=1 - 0.01 * 1.4**n), params={"one_minus_beta1": 0.01 * 1.4**n})
        for n in range(10)
    ]
    title, *_, axis, ticks, legend = drawn(rank(study(*trials)))
    assert title == "val_loss against 1 - beta1, 10 complete trials:"
    assert ticks.split() == ["0.01", "0.1", "0.207"]
    assert axis.index("D") == pytest.approx(13 + 46 * math.log(10) / math.log(20.7), abs=1)
    assert legend.endswith("D default, beta1 0.9")


def test_values_of_many_decades_are_said_to_be_logarithmic() -> None:
    trials = [trial(n, 10.0**-n, searched=("lr",), lr=0.001 * (n + 1)) for n in range(10)]
    title, *lines = drawn(rank(study(*trials)))
    assert title == "val_loss (logarithmic) against lr, 10 complete trials:"
    assert [line.split()[0] for line in (lines[0], lines[9])] == ["1.000", "1.000e-9"]
    assert len({line.rindex("*") for line in lines[:9]}) == 9  # a straight line


@pytest.mark.parametrize("searched", [(), ("schedule",), ("optimizer", "amsgrad")])
def test_nothing_is_plotted_without_a_number(searched: tuple[str, ...]) -> None:
    trials = [
        trial(n, 0.1, searched=searched, schedule=("cosine", "constant")[n % 2], amsgrad=n % 2 > 0)
        for n in range(9)
    ]
    assert drawn(rank(study(*trials))) == []


def test_few_trials_are_not_plotted() -> None:
    assert drawn(ranking(count=6)) == []  # and the outlier makes seven
    assert drawn(rank(study())) == []


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_the_plot_has_the_width_of_the_terminal(width: int, unicode: bool) -> None:
    lines = drawn(ranking(), width, unicode)
    assert max(map(len, lines[1:-1])) == max(width, 33)
    assert "".join(lines).isascii() is not unicode


def test_the_printed_plot_is_ascii_where_the_encoding_is() -> None:
    for encoding in ("ascii", "utf-8"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        show_scatter(console(file=file), ranking())
        file.seek(0)
        assert file.read().isascii() == (encoding == "ascii")
