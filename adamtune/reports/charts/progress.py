"""How trials and the study went: learning curves, and the best value so far."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan
from typing import Any

import altair as alt

from adamtune.analysis.random_search import Coordinate, expected_bests, shares
from adamtune.analysis.ranking import Ranking, Row
from adamtune.reports.axes import Axis, axes
from adamtune.reports.charts.rows import MOST_TRIALS, drawn, kind_of, last_value, plain, with_width
from adamtune.reports.charts.slices import HEIGHT, WIDTH
from adamtune.reports.charts.style import (
    BEST,
    COMPLETE,
    GUIDE,
    brush,
    chosen,
    ends,
    faded,
    layered,
    named,
    numbers,
    step_axis,
    with_rows,
)
from adamtune.reports.curves import Scale
from adamtune.storage.records import TrialRecord

MOST_CURVES, MOST_POINTS = 1000, 30_000
"""More curves, or points of all of them, are not drawn."""
_BEST_POINTS = 500
RANDOM = "Dashed: the expected best of random search, estimated from these trials and their places."


def curves(ranking: Ranking) -> alt.LayerChart | None:
    """The objective of each trial over its steps, the best trial's highlighted; None without evaluations."""
    rows = [row for row in drawn(ranking, MOST_CURVES) if row.trial.intermediate]
    scale = _curve_scale(rows, ranking.study.direction)
    if scale is None:
        return None
    each = max(MOST_POINTS // len(rows), 10)
    data = [_curve(row, ranking, each) for row in rows]
    base = alt.Chart(named("curves")).transform_flatten(["step", "value"]).mark_line(clip=True)
    y, every = numbers(*ends(scale), scale.is_log), [step for row in rows for step in row.trial.intermediate]
    steps = alt.Scale(domain=[min(every), max(every)], nice=False)
    base = base.encode(
        step_axis(max(every), scale=steps),
        alt.Y("value:Q", scale=y, title=ranking.study.metric, axis=alt.Axis(tickCount=5, format="~g")),
        alt.Detail("trial:N"),
        tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("kind:N", title="state")],
    )
    others = base.transform_filter("datum.kind != 'best'").mark_line(clip=True, strokeWidth=1, color=COMPLETE)
    best = base.transform_filter("datum.kind == 'best'").mark_line(clip=True, strokeWidth=3, color=BEST)
    others = others.encode(opacity=faded(0.5 if len(rows) < 200 else 0.18)).add_params(chosen(), brush())
    chart = layered(others, best.encode(opacity=faded(1.0)), width=WIDTH * 2, height=HEIGHT * 1.4)
    return with_rows(chart, curves=data)  # type: ignore[no-any-return]


def curve_note(ranking: Ranking) -> list[str]:
    """What is not drawn as it is: values beyond the axis, and curves left out."""
    rows = [row for row in ranking.rows if row.trial.intermediate]
    scale = _curve_scale(drawn(ranking, MOST_CURVES), ranking.study.direction)
    low, high = ends(scale) if scale else (0.0, 0.0)
    values = (value for row in rows for value in row.trial.intermediate.values())
    clipped = scale is not None and any(not low <= value <= high for value in values)
    lines = ["Values beyond the axis are cut off."] if clipped else []
    return [*lines, *([f"{MOST_CURVES} of {len(rows)} curves are drawn."] if len(rows) > MOST_CURVES else [])]


def _curve(row: Row, ranking: Ranking, most: int) -> dict[str, Any]:
    points: Sequence[Any] = thinned(
        [*row.trial.intermediate.items()], _BEST_POINTS if row.trial is ranking.best else most
    )
    steps, values = zip(*points, strict=True)
    kind = kind_of(ranking, row.trial)
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
    """The best value after each trial, beside what random search would be expected to have.

    None without a complete trial.
    """
    rows = _bests(ranking)
    if not rows:
        return None
    expected = _expected(ranking)
    values = [each["best"] for each in [*rows, *expected]]
    scale = with_width(Scale.of(values, ranking.study.direction))
    assert scale is not None
    for each in expected:  # a line of millions of pixels, beyond the axis, is drawn without dashes
        each["best"] = plain(scale.at(min(max(scale.position(each["best"]), -2), 3)))
    counts = alt.Scale(domain=[1, max(len(ranking.study.trials), 2)], nice=False)
    x = alt.X("trials:Q", axis=alt.Axis(tickCount=6, format="d"), scale=counts)
    y = alt.Y(
        "best:Q",
        title=f"best {ranking.study.metric}",
        scale=numbers(*ends(scale), scale.is_log),
        axis=alt.Axis(tickCount=5, format="~g"),
    )
    base = alt.Chart(named("bests")).encode(x, y)
    line = base.mark_line(interpolate="step-after", color=BEST, strokeWidth=2.5, clip=True)
    points = base.mark_point(filled=True, color=BEST, size=40, clip=True).transform_filter("datum.improves")
    points = points.encode(
        opacity=faded(1.0),
        tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("best:Q", title=ranking.study.metric, format=".5~g")],
    ).add_params(chosen())
    random = alt.Chart(named("random")).mark_line(color=GUIDE, strokeWidth=2, strokeDash=[6, 3], clip=True)
    chart = layered(random.encode(x, y), line, points, width=WIDTH * 2, height=HEIGHT * 1.4)
    if expected:
        chart.usermeta = {"notes": [RANDOM]}
    return with_rows(chart, bests=rows, random=expected)  # type: ignore[no-any-return]


def _expected(ranking: Ranking) -> list[dict[str, Any]]:
    """The expected best of n trials at random; none with fewer than ten trials, or of no searched setting.

    A trial that diverged counts as the worst complete one, a pruned one as its last value.
    """
    trials = [each for each in ranking.study.trials if each.state in ("complete", "pruned", "diverged")]
    trials = trials[:: len(trials) // MOST_TRIALS + 1]
    sign, found = (1 if ranking.study.direction == "minimize" else -1), axes(ranking)
    last = [last_value(each) for each in trials]
    known = [sign * each for each in last if each is not None]
    if len(trials) < 10 or not known or not found:
        return []
    values = [max(known) if each is None else sign * each for each in last]
    weights = shares([_coordinate(axis, trials) for axis in found])
    total = len(ranking.study.trials)
    counts = sorted({round(total ** (place / 60)) for place in range(61)})
    bests = expected_bests(values, weights, counts)
    return [{"trials": n, "best": plain(sign * best)} for n, best in zip(counts, bests, strict=True)]


def _coordinate(axis: Axis, trials: Sequence[TrialRecord]) -> Coordinate:
    values = [each.params.get(axis.parameter) for each in trials]
    if axis.values:
        choices = {text: place for place, text in enumerate(axis.values)}
        return Coordinate([nan if v is None else choices[axis.text(v)] for v in values], len(choices))
    scale = axis.scale or Scale(0.0, 1.0)
    return Coordinate([nan if value is None else scale.position(value) for value in values])


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
