"""The value of each trial against one setting, as a plot of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, NamedTuple

from rich.text import Text

from adamtune.analysis.ranking import Ranking
from adamtune.catalog import ONE_MINUS
from adamtune.reports.axes import default_of, range_of
from adamtune.reports.curves import Canvas, Scale
from adamtune.reports.text import rounded, significant

LEAST_TRIALS = 8
"""Fewer complete trials than these are not plotted: the table shows them as well."""
_HEIGHT = 10
_MARGIN = 13
"""Characters left of the plot: a label, a blank and the axis."""


class _Mark(NamedTuple):
    """Settings that a letter marks; their value is None where it is not known."""

    letter: str
    x: float
    value: float | None
    meaning: str


def scatter(ranking: Ranking, width: int, unicode: bool = True) -> list[Text]:
    """The lines of a plot of the value against lr, or else against the most important numeric setting.

    The axis of the values ends where outliers begin. These have a line of their own at the worse end, as
    pruned and diverged trials have. ``B`` marks the best trial, ``D`` the baseline or the default.

    Args:
        ranking: the ranked study.
        width: characters of a line.
        unicode: whether the characters may be others than ASCII.

    Returns:
        Nothing with fewer than ``LEAST_TRIALS`` complete trials, or where no numeric setting differs.
    """
    name = _plotted(ranking)
    complete = [row.trial for row in ranking.rows if row.rank and name in row.trial.params]
    points = [(each.params[name], each.final_value) for each in complete]
    values = Scale.of((value for _, value in points), ranking.study.direction)
    x = range_of(ranking, name) if name else None
    if len(points) < LEAST_TRIALS or values is None or x is None:
        return []
    marks = [each for each in _marks(ranking, name) if 0 <= x.position(each.x) <= 1]
    return _Plot(ranking, name, x, values, max(width - _MARGIN, 20), unicode).lines(points, marks)


def _plotted(ranking: Ranking) -> str:
    """The parameter to plot; empty where no numeric one differs."""
    values: dict[str, set[Any]] = {}
    for trial in ranking.study.trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    varied = {
        name.removeprefix(ONE_MINUS): name
        for name, found in values.items()
        if len(found) > 1 and all(type(each) in (int, float) for each in found)
    }
    order = ["lr"] if "lr" in varied else ranking.by_importance
    return next((varied[each] for each in [*order, *varied] if each in varied), "")


def _marks(ranking: Ranking, name: str) -> Iterator[_Mark]:
    best, baseline, trained = ranking.best, ranking.baseline, name.removeprefix(ONE_MINUS)
    if best and name in best.params:
        yield _Mark("B", best.params[name], best.value, f"best, trial {best.number}")
    default = default_of(ranking, trained)
    if isinstance(default, int | float):
        meaning = f"{'baseline' if baseline else 'default'}, {trained} {significant(default)}"
        value = baseline.trial.value if baseline else None
        yield _Mark("D", default if trained == name else 1 - default, value, meaning)


@dataclass(frozen=True)
class _Plot:
    """A plot of ``columns`` characters.

    Attributes:
        name: the parameter.
        x, y: the axes of the parameter and of the values.
    """

    ranking: Ranking
    name: str
    x: Scale
    y: Scale
    columns: int
    unicode: bool

    def lines(self, points: Sequence[tuple[float, float]], marks: Sequence[_Mark]) -> list[Text]:
        """Title, plot, axis and legend."""
        study, kind = self.ranking.study, " (logarithmic)" if self.y.is_log else ""
        against = self.name.replace(ONE_MINUS, "1 - ")
        edge, inside = [*self._edge(points, marks)], self._inside(points, marks)
        rows = [*edge, *inside] if study.direction == "minimize" else [*inside, *edge[::-1]]
        legend = "   ".join(f"{each.letter} {each.meaning}" for each in marks)
        return [
            Text(f"{study.metric}{kind} against {against}, {len(points)} complete trials:", style="bold"),
            *rows,
            *self._ticks(marks),
            *([Text(" " * _MARGIN + legend)] if marks else []),
        ]

    def _edge(self, points: Sequence[tuple[float, float]], marks: Sequence[_Mark]) -> Iterator[Text]:
        """A line each for diverged trials, pruned ones and outliers, the farthest from the values first."""
        for state in ("diverged", "pruned"):
            trials = [each for each in self.ranking.study.trials if each.state == state]
            xs = [each.params[self.name] for each in trials if self.name in each.params]
            if xs:
                yield self._row(state, self._cells(xs), ())
        beyond = [x for x, value in points if not self._is_inside(value)]
        marked = [each for each in marks if each.value is not None and not self._is_inside(each.value)]
        if beyond or marked:
            minimized = self.ranking.study.direction == "minimize"
            limit = f"> {rounded(self.y.high)}" if minimized else f"< {rounded(self.y.low)}"
            yield self._row(limit, self._cells(beyond), marked)

    def _inside(self, points: Sequence[tuple[float, float]], marks: Sequence[_Mark]) -> list[Text]:
        canvas = Canvas(self.columns, _HEIGHT, self.unicode)
        for x, value in points:
            if self._is_inside(value):
                canvas.add(self._column(x, canvas.columns), self._line(value, canvas.rows))
        labels = {line: self.y.at(1 - line / (_HEIGHT - 1)) for line in (0, _HEIGHT // 2, _HEIGHT - 1)}
        own = [each for each in marks if each.value is not None and self._is_inside(each.value)]
        return [
            self._row(
                rounded(labels[line]) if line in labels else "",
                cells,
                [each for each in own if self._line(each.value or 0.0, _HEIGHT) == line],
            )
            for line, cells in enumerate(canvas.lines())
        ]

    def _ticks(self, marks: Sequence[_Mark]) -> list[Text]:
        """The axis of the setting, and the values of its ends and between."""
        labels = " " * self.columns
        for value in _tick_values(self.x):
            text, column = significant(value), self._column(value, self.columns)
            start = min(max(column - len(text) // 2, 0), len(labels) - len(text))
            if not labels[max(start - 2, 0) : start + len(text) + 2].strip():
                labels = labels[:start] + text + labels[start + len(text) :]
        corner, dash = ("└", "─") if self.unicode else ("+", "-")
        axis = self._row("", dash * self.columns, [each for each in marks if each.value is None], corner)
        return [axis, Text(" " * _MARGIN + labels.rstrip())]

    def _row(self, label: str, cells: str, marks: Iterable[_Mark], axis: str = "") -> Text:
        """A line of the plot with the letters of ``marks``, the first above the others."""
        line = Text(f"{cells:{self.columns}}", style="cyan")
        for mark in [*marks][::-1]:
            column = self._column(mark.x, self.columns)
            line = Text.assemble(line[:column], (mark.letter, "bold green"), line[column + 1 :])
        line.rstrip()
        return Text(f"{label:>{_MARGIN - 2}} {axis or ('│' if self.unicode else '|')}") + line

    def _cells(self, xs: Iterable[float]) -> str:
        columns = {self._column(x, self.columns) for x in xs}
        return "".join("x" if column in columns else " " for column in range(self.columns))

    def _is_inside(self, value: float) -> bool:
        return self.y.low <= value <= self.y.high

    def _column(self, x: float, columns: int) -> int:
        return round(min(max(self.x.position(x), 0.0), 1.0) * (columns - 1))

    def _line(self, value: float, lines: int) -> int:
        return round((1 - self.y.position(value)) * (lines - 1))


def _tick_values(axis: Scale) -> list[float]:
    """The ends, then values between: powers of ten on a logarithmic axis, else the quarters."""
    if not axis.is_log:
        return [axis.low, axis.high, *map(axis.at, (0.5, 0.25, 0.75))]
    powers = range(ceil(log10(axis.low)), floor(log10(axis.high)) + 1)
    return [axis.low, axis.high, *(10.0**power for power in powers)]
