"""The settings themselves: what each explains, all at once, and the learning rate over the training."""

from __future__ import annotations

from typing import Any

import altair as alt

from adamtune.analysis.frames import importance_frame
from adamtune.analysis.ranking import Ranking
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.reports.axes import Axis, axes
from adamtune.reports.charts.learning_rate import lr_curve
from adamtune.reports.charts.progress import thinned
from adamtune.reports.charts.rows import drawn, inline, plain, records, trial_rows, value_scale
from adamtune.reports.charts.slices import HEIGHT, WIDTH
from adamtune.reports.charts.style import (
    BEST,
    COMPLETE,
    GUIDE,
    KINDS,
    brush,
    chosen,
    faded,
    kind_color,
    layered,
    named,
    step_axis,
    with_rows,
)
from adamtune.reports.curves import Scale
from adamtune.reports.text import significant
from adamtune.schedules.registry import SCHEDULES

MOST_LINES = 500
"""More trials are not drawn in parallel coordinates."""
_POINTS = 300


def importance(ranking: Ranking) -> alt.LayerChart | None:
    """How much of the order of the trials each setting explains, beside noise; None with too few trials."""
    frame = importance_frame(ranking)
    if frame.empty:
        return None
    data = inline(records({name: frame[name] for name in frame}))
    base = alt.Chart(data).encode(
        alt.Y("setting:N", sort=None, title=None, axis=alt.Axis(labelLimit=140)),
        tooltip=["setting:N", *(alt.Tooltip(f"{name}:Q", format=".2f") for name in frame.columns[1:])],
    )
    title = "share of the order explained, 95 % interval"
    x = alt.X("share:Q", title=title, scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=6, format="~g"))
    bars = base.mark_bar(color=COMPLETE, opacity=0.6, height={"band": 0.55}).encode(x)
    intervals = base.mark_rule(strokeWidth=2, color=BEST).encode(alt.X("low:Q"), alt.X2("high:Q"))
    noise = base.mark_tick(color=GUIDE, thickness=3).encode(alt.X("noise:Q"))
    return layered(bars, intervals, noise, width=WIDTH * 2, height=max(30 * len(frame) + 40, HEIGHT))


def parallel(ranking: Ranking) -> alt.LayerChart | None:
    """All settings of each trial as a line, and its value; None where no setting was searched."""
    found = axes(ranking)
    if not found:
        return None
    last, scale = Axis("value", "shown", value_scale(ranking), ()), value_scale(ranking)
    columns = [*((axis.title, axis) for axis in found), *([(ranking.study.metric, last)] if scale else [])]
    names = _unique([title for title, _ in columns])
    rows = trial_rows(ranking, found, drawn(ranking, MOST_LINES))
    drawn_axes = [(name, axis) for name, (_, axis) in zip(names, columns, strict=True)]
    data = [_line(row, drawn_axes) for row in rows if row["kind"] in KINDS]
    x = alt.X(
        "axis:N",
        sort=None,
        scale=alt.Scale(domain=names, padding=0.2),
        title=None,
        axis=alt.Axis(labelAngle=0, orient="top", labelLimit=100, grid=True, domain=False, ticks=False),
    )
    y = alt.Y("position:Q", scale=alt.Scale(domain=[-0.04, 1.06]), axis=None)
    base = (
        alt.Chart(named("parallel"))
        .transform_flatten(["axis", "position"])
        .encode(
            x,
            y,
            alt.Detail("trial:N"),
            kind_color(ranking),
            tooltip=[alt.Tooltip("trial:Q"), alt.Tooltip("kind:N", title="state")],
        )
    )
    others = base.transform_filter("datum.kind != 'best'").mark_line(strokeWidth=1)
    best = base.transform_filter("datum.kind == 'best'").mark_line(strokeWidth=3)
    ticks = alt.Chart(inline(_labels(drawn_axes))).mark_text(align="left", dx=4, fontSize=10)
    chart = layered(
        others.encode(opacity=faded(0.3)).add_params(chosen(), brush()),
        best.encode(opacity=faded(1.0)),
        ticks.encode(x, y, text="label:N"),
        width=WIDTH * 3,
        height=HEIGHT * 1.5,
    )
    return with_rows(chart, parallel=data)  # type: ignore[no-any-return]


def _unique(names: list[str]) -> list[str]:
    """The names, a repeated one with a number."""
    return [
        name if name not in names[:place] else f"{name} ({place + 1})" for place, name in enumerate(names)
    ]


def _line(row: dict[str, Any], found: list[tuple[str, Axis]]) -> dict[str, Any]:
    places = [(name, _position(axis, row.get(axis.key))) for name, axis in found]
    known = [(name, place) for name, place in places if place is not None]
    return {
        "trial": row["trial"],
        "kind": row["kind"],
        "axis": [name for name, _ in known],
        "position": plain([round(place, 4) for _, place in known]),
    }


def _position(axis: Axis, value: Any) -> float | None:
    if value is None:
        return None
    if axis.values:
        return axis.values.index(value) / max(len(axis.values) - 1, 1)
    if axis.scale is not None and axis.scale.is_log and value <= 0:
        return None
    return (axis.scale or Scale(value - 1, value + 1)).position(value)


def _labels(found: list[tuple[str, Axis]]) -> list[dict[str, Any]]:
    """What the ends of each axis stand for, or its choices."""
    labels: list[dict[str, Any]] = []
    for name, axis in found:
        ends = {0.0: axis.scale.low, 1.0: axis.scale.high} if axis.scale else {}
        labels += [{"axis": name, "position": at, "label": significant(value)} for at, value in ends.items()]
        labels += [{"axis": name, "position": _position(axis, each), "label": each} for each in axis.values]
    return labels


def schedule(ranking: Ranking) -> alt.Chart | None:
    """lr over the steps of the recommended trial; None where it has no schedule of adamtune."""
    trial = ranking.recommended
    if trial is None or trial.settings.get("schedule") not in SCHEDULES or "lr" not in trial.settings:
        return None
    longest = trial if trial.steps else ranking.best or trial  # the baseline has no steps of its own
    total = longest.total_steps or longest.steps
    if not total:
        return None
    optimizer = OPTIMIZERS.get(str(trial.settings.get("optimizer")))
    known = (optimizer.defaults if optimizer else {}) | SCHEDULES[trial.settings["schedule"]].defaults
    values = {name: trial.settings.get(name, default) for name, default in known.items()}
    hyperparameters = {name: values[name] for name in SCHEDULES[trial.settings["schedule"]].defaults}
    steps = thinned(range(total), _POINTS)
    factors = lr_curve(trial.settings["schedule"], hyperparameters, total, [*steps])
    rows = [
        {"step": step + 1, "lr": plain(factor * trial.settings["lr"])}
        for step, factor in zip(steps, factors, strict=True)
    ]
    chart = alt.Chart(inline(rows), width=WIDTH * 2, height=HEIGHT)
    return chart.mark_line(color=BEST, strokeWidth=2.5).encode(  # type: ignore[no-any-return]
        step_axis(total, scale=alt.Scale(nice=False)),
        alt.Y("lr:Q", axis=alt.Axis(tickCount=5, format="~g"), scale=alt.Scale(zero=True)),
        tooltip=["step:Q", alt.Tooltip("lr:Q", format=".4~g")],
    )
