"""What the charts have in common: colours, shapes, selections and notes."""

from __future__ import annotations

from typing import Any, NamedTuple

import altair as alt

from adamtune.analysis.ranking import Ranking
from adamtune.reports.axes import Axis
from adamtune.reports.charts.rows import edge
from adamtune.reports.curves import Scale
from adamtune.storage.records import shown_state

# Of Okabe and Ito, told apart by the colour blind, on white and on black; shapes tell them apart as well.
BEST, COMPLETE, GUIDE = "#d55e00", "#3a8fd0", "#8c8c8c"


class Kind(NamedTuple):
    """How a kind of trials is drawn; ``mark`` stands for its shape in text."""

    color: str
    shape: str
    mark: str


KINDS = {
    "best": Kind(BEST, "diamond", "◆"),
    "complete": Kind(COMPLETE, "circle", "●"),
    "pruned": Kind("#8c8c8c", "cross", "✚"),
    "diverged": Kind("#cc79a7", "triangle-up", "▲"),
    "running": Kind("#009e73", "square", "■"),
    "unfinished": Kind("#009e73", "square", "■"),
}
"""The kinds of trials that are drawn."""

Chart = alt.Chart | alt.LayerChart | alt.ConcatChart

CHOSEN = "chosen"
"""The parameter that says which trials are chosen, a mapping with their numbers; all are where it is null."""
BRUSH = "brush"
"""The parameter of an area that is drawn with the mouse."""


def layered(*charts: alt.Chart, **properties: Any) -> alt.LayerChart:
    """Charts on top of each other; ``alt.layer`` does not say which kind of chart it returns."""
    return alt.LayerChart(layer=[*charts]).properties(**properties)


def named(name: str) -> alt.NamedData:
    """The data set of this name, whose rows ``with_rows`` gives to the finished chart."""
    return alt.NamedData(name=name)


def with_rows(chart: Any, **datasets: list[dict[str, Any]]) -> Any:
    """The chart with the rows of its data sets: Altair would copy and check them at every step before."""
    chart.datasets = datasets
    return chart


def chosen() -> alt.Parameter:
    """The parameter ``CHOSEN``."""
    return alt.param(name=CHOSEN, value=None)


def brush() -> alt.Parameter:
    """The parameter ``BRUSH``."""
    return alt.selection_interval(name=BRUSH)


def faded(opacity: float = 0.8) -> Any:
    """An opacity that fades what is not chosen."""
    return alt.condition(f"!{CHOSEN} || {CHOSEN}[datum.trial]", alt.value(opacity), alt.value(0.06))


def kinds(ranking: Ranking) -> dict[str, Kind]:
    """The kinds of trials that a study has."""
    found = {shown_state(state, ranking.study.in_use) for state, count in ranking.counts.items() if count}
    return {name: kind for name, kind in KINDS.items() if name in found or (name == "best" and ranking.best)}


def kind_color(ranking: Ranking, legend: alt.Legend | None = None) -> alt.Color:
    """The colour of a trial by its kind."""
    found = kinds(ranking)
    scale = alt.Scale(domain=[*found], range=[each.color for each in found.values()])
    return alt.Color("kind:N", scale=scale, legend=legend, title=None)


def kind_shape(ranking: Ranking, legend: alt.Legend | None = None) -> alt.Shape:
    """The shape of a trial by its kind; that of a diverged one points off the axis."""
    found, out = kinds(ranking), "up" if ranking.study.direction == "minimize" else "down"
    scale = alt.Scale(domain=[*found], range=[each.shape.replace("up", out) for each in found.values()])
    return alt.Shape("kind:N", scale=scale, legend=legend, title=None)


def kind_size() -> Any:
    """The size of a trial: the best is the largest."""
    return alt.condition("datum.kind == 'best'", alt.value(170), alt.value(34))


def value_axis(ranking: Ranking, scale: Scale | None, **options: Any) -> alt.Y:
    """The vertical axis of the values; without numbers where no trial has a value."""
    if scale is None:
        domain, is_log, axis = (0.0, 1.1), False, alt.Axis(labels=False, ticks=False)
    else:
        domain, is_log, axis = ends(scale), scale.is_log, alt.Axis(tickCount=5, format="~g")
    return alt.Y("shown:Q", scale=numbers(*domain, is_log), axis=axis, title=ranking.study.metric, **options)


def step_axis(last: int, **options: Any) -> alt.X:
    """The horizontal axis of the optimizer steps; large ones are written as 200k."""
    axis = alt.Axis(tickCount=6, format=",d" if last < 100_000 else "~s")
    return alt.X("step:Q", axis=axis, **options)


def ends(scale: Scale) -> tuple[float, float]:
    """The ends of an axis with a margin, in which what is beyond the worse end stands."""
    return edge(scale, "maximize"), edge(scale, "minimize")


def numbers(low: float, high: float, is_log: bool) -> alt.Scale:
    """A scale of numbers that ends where it is told to."""
    if is_log:
        return alt.Scale(domain=[low, high], type="log", nice=False)
    return alt.Scale(domain=[low, high], nice=False, zero=False)


def setting_scale(axis: Axis) -> alt.Scale:
    """The scale of a setting: its range, a little wider, and its default."""
    if axis.values:
        return alt.Scale(domain=[*axis.values])
    if axis.scale is None:
        return alt.Scale(zero=False, nice=False)
    low, high = axis.scale.at(-0.03), axis.scale.at(1.03)
    if has_default(axis):
        low, high = min(low, axis.default), max(high, axis.default)
    return numbers(low, high, axis.scale.is_log)


def has_default(axis: Axis) -> bool:
    """Whether the default is on the axis: 0 is not on a logarithmic one."""
    if axis.values:
        return axis.default in axis.values
    is_log = axis.scale is not None and axis.scale.is_log
    return axis.default is not None and not (is_log and axis.default <= 0)


def is_on(axis: Axis) -> str:
    """The expression that is true of a trial that has a place on this axis."""
    is_log = axis.scale is not None and axis.scale.is_log
    return f"datum.{axis.key} > 0" if is_log else f"isValid(datum.{axis.key})"


def field(axis: Axis) -> str:
    """The field of a setting with its type, as Altair writes it."""
    return f"{axis.key}:{'O' if axis.values else 'Q'}"


def tooltip(axes: list[Axis], metric: str) -> list[alt.Tooltip]:
    """What a trial says when it is pointed at."""
    return [
        alt.Tooltip("trial:Q", title="trial"),
        alt.Tooltip("kind:N", title="state"),
        alt.Tooltip("value:Q", title=metric, format=".5~g"),
        *(alt.Tooltip(field(axis), title=axis.title, format="" if axis.values else ".4~g") for axis in axes),
    ]
