"""How trials and the study went: learning curves, and the best value so far."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import altair as alt

from adamtune.analysis.ranking import Ranking, Row
from adamtune.reports.charts.rows import drawn, plain, with_width
from adamtune.reports.charts.slices import HEIGHT, WIDTH
from adamtune.reports.charts.style import (
    BEST,
    COMPLETE,
    brush,
    chosen,
    faded,
    layered,
    named,
    numbers,
    with_rows,
)
from adamtune.reports.curves import Scale

MOST_CURVES, MOST_POINTS = 1000, 30_000
"""More curves, or points of all of them, are not drawn."""
_BEST_POINTS = 500


def curves(ranking: Ranking) -> alt.LayerChart | None:
    """The objective of each trial over its steps, the best trial's highlighted; None without evaluations."""
    rows = [row for row in drawn(ranking, MOST_CURVES) if row.trial.intermediate]
    scale = _curve_scale(rows, ranking.study.direction)
    if scale is None:
        return None
    each = max(MOST_POINTS // len(rows), 10)
    data = [_curve(row, ranking, each) for row in rows]
    base = alt.Chart(named("curves")).transform_flatten(["step", "value"]).mark_line(clip=True)
    y = numbers(*scale)
    base = base.encode(
        alt.X("step:Q", title="step", axis=alt.Axis(tickCount=6, format="~s"), scale=alt.Scale(nice=False)),
        alt.Y("value:Q", scale=y, title=ranking.study.metric, axis=alt.Axis(tickCount=5, format="~g")),
        alt.Detail("trial:N"),
        tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("kind:N", title="state")],
    )
    others = base.transform_filter("datum.kind != 'best'").mark_line(clip=True, strokeWidth=1, color=COMPLETE)
    best = base.transform_filter("datum.kind == 'best'").mark_line(clip=True, strokeWidth=3, color=BEST)
    others = others.encode(opacity=faded(0.35 if len(rows) < 200 else 0.18)).add_params(chosen(), brush())
    chart = layered(others, best.encode(opacity=faded(1.0)), width=WIDTH * 2, height=HEIGHT * 1.4)
    return with_rows(chart, curves=data)  # type: ignore[no-any-return]


def _curve(row: Row, ranking: Ranking, most: int) -> dict[str, Any]:
    points = thinned([*row.trial.intermediate.items()], _BEST_POINTS if row.trial is ranking.best else most)
    steps, values = zip(*points, strict=True)
    kind = "best" if row.trial is ranking.best else row.trial.state
    return {"trial": row.trial.number, "kind": kind, "step": plain(steps), "value": plain(values)}


def thinned(points: Sequence[Any], most: int) -> Sequence[Any]:
    """At most ``most`` of the points, evenly, the first and the last included."""
    if len(points) <= most:
        return points
    return [points[place * (len(points) - 1) // (most - 1)] for place in range(most)]


def _curve_scale(rows: Sequence[Row], direction: str) -> Scale | None:
    values = [value for row in rows for value in row.trial.intermediate.values() if isfinite(value)]
    return with_width(Scale.of(values, direction))


def best_so_far(ranking: Ranking) -> alt.LayerChart | None:
    """The best value after each trial; None without a complete trial."""
    rows = _bests(ranking)
    if not rows:
        return None
    values = [each["best"] for each in rows]
    scale = with_width(Scale.of(values, ranking.study.direction))
    assert scale is not None
    base = alt.Chart(named("bests")).encode(
        alt.X(
            "trials:Q", title="trials", axis=alt.Axis(tickCount=6, format="d"), scale=alt.Scale(nice=False)
        ),
        alt.Y(
            "best:Q",
            title=f"best {ranking.study.metric}",
            scale=numbers(*scale),
            axis=alt.Axis(tickCount=5, format="~g"),
        ),
    )
    line = base.mark_line(interpolate="step-after", color=BEST, strokeWidth=2.5, clip=True)
    points = base.mark_point(filled=True, color=BEST, size=40, clip=True).transform_filter("datum.improves")
    points = points.encode(
        opacity=faded(1.0),
        tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("best:Q", title=ranking.study.metric, format=".5~g")],
    ).add_params(chosen())
    chart = layered(line, points, width=WIDTH * 2, height=HEIGHT * 1.4)
    return with_rows(chart, bests=rows)  # type: ignore[no-any-return]


def _bests(ranking: Ranking) -> list[dict[str, Any]]:
    """The best value where it changes and at the end, against the number of trials begun so far."""
    sign = 1 if ranking.study.direction == "minimize" else -1
    trials = sorted(ranking.study.trials, key=lambda each: each.number)
    rows: list[dict[str, Any]] = []
    for place, trial in enumerate(trials, start=1):
        value = trial.value if trial.state == "complete" else None
        if value is not None and (not rows or sign * value < sign * rows[-1]["best"]):
            rows.append({"trials": place, "trial": trial.number, "best": value, "improves": True})
    if rows:
        rows.append(rows[-1] | {"trials": len(trials), "improves": False})
    return [{key: plain(value) for key, value in row.items()} for row in rows]
