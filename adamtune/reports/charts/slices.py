"""The value of each trial against its settings."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from adamtune.analysis.ranking import Ranking
from adamtune.reports.axes import Axis, axes
from adamtune.reports.charts.rows import drawn, inline, last_value, trial_rows, value_scale
from adamtune.reports.charts.style import (
    BEST,
    GUIDE,
    KINDS,
    Chart,
    brush,
    chosen,
    faded,
    field,
    has_default,
    is_on,
    kind_color,
    kind_shape,
    kind_size,
    layered,
    named,
    setting_scale,
    tooltip,
    value_axis,
    with_rows,
)
from adamtune.reports.text import rounded

WIDTH, HEIGHT = 280, 200


def slices(ranking: Ranking) -> Chart | None:
    """The value against each searched setting, a picture a setting; None where no setting was searched."""
    found = axes(ranking)
    if not found:
        return None
    legend = alt.Legend(orient="top", direction="horizontal")
    pictures = [slice_of(ranking, axis, found, legend, linked=False) for axis in found]
    chart = alt.concat(*pictures, columns=3).properties(
        title=alt.Title("Value by setting", subtitle=note(ranking))
    )
    return with_rows(chart, trials=trial_rows(ranking, found))  # type: ignore[no-any-return]


def slice_of(
    ranking: Ranking,
    axis: Axis,
    every: list[Axis] | None = None,
    legend: alt.Legend | None = None,
    linked: bool = True,
) -> alt.LayerChart:
    """The value against one setting.

    The range's ends and the default are marked. A pruned trial stands at its last value, a diverged one and
    an outlier beyond the worse end of the axis. Its rows are those of ``trial_rows``, which one data set
    ``trials`` of the whole chart or page has.

    Args:
        ranking: the ranked study.
        axis: the setting.
        every: the axes of all settings, for what a trial says when it is pointed at.
        legend: what the colours mean; none by default.
        linked: whether an area of it chooses trials, by the parameters of ``style``.
    """
    every = axes(ranking) if every is None else every
    x = alt.X(field(axis), scale=setting_scale(axis), title=axis.title, axis=_ticks(axis))
    offset = alt.XOffset("jitter:Q", scale=alt.Scale(domain=[-0.2, 1.2]))
    points = (
        alt.Chart(named("trials"))
        .transform_filter(f"isValid(datum.shown) && {is_on(axis)}")
        .mark_point(filled=True)
        .encode(
            x,
            value_axis(ranking, value_scale(ranking)),
            kind_color(ranking, legend),
            kind_shape(ranking, legend),
            size=kind_size(),
            opacity=faded(),
            order=alt.Order("rank:Q", sort="descending"),  # the best on top
            tooltip=tooltip(every, ranking.study.metric),
            **({"xOffset": offset} if axis.values else {}),
        )
    )
    points = points.add_params(chosen(), *([brush()] if linked else []))
    if axis.values:  # so that trials of one choice are seen beside each other
        points = points.transform_calculate(jitter="(datum.trial * 0.618034) % 1")
    return layered(*_guides(axis), points, width=WIDTH, height=HEIGHT, description=_said(ranking, axis))


def _said(ranking: Ranking, axis: Axis) -> str:
    """The picture of a setting in words, for those who do not see it."""
    best, metric = ranking.best, ranking.study.metric
    said = f"{metric} of {len(drawn(ranking))} trials against {axis.title}."
    if best is None or axis.name not in best.settings:
        return said
    return f"{said} The best, trial {best.number}, is at {axis.name} {axis.text(best.settings[axis.name])}."


def _ticks(axis: Axis) -> alt.Axis:
    return (
        # What is not said is as for upright labels: the lines, which are drawn first, say nothing of labels.
        alt.Axis(grid=False, labelAngle=0, labelLimit=90, labelAlign="center", labelBaseline="top")
        if axis.values
        else alt.Axis(tickCount=4, format="~g")
    )


def _guides(axis: Axis) -> list[alt.Chart]:
    """Lines at the ends of the range, and at the default."""
    kind = "O" if axis.values else "Q"
    ends = [axis.scale.low, axis.scale.high] if axis.scale and not axis.values else []
    found = [_rule(ends, kind, [2, 3], 0.6)] if ends else []
    if has_default(axis):
        found.append(_rule([axis.default], kind, [6, 3], 1.0))
        label = alt.Chart(inline([{"at": axis.default}])).mark_text(align="left", dx=4, dy=-6, fontSize=10)
        found.append(label.encode(alt.X(f"at:{kind}"), y=alt.value(0), text=alt.value("default")))
    return found


def _rule(places: Sequence[object], kind: str, dash: list[int], opacity: float) -> alt.Chart:
    rule = alt.Chart(inline([{"at": each} for each in places]))
    rule = rule.mark_rule(color=GUIDE, strokeDash=dash, opacity=opacity)
    return rule.encode(alt.X(f"at:{kind}"))  # type: ignore[no-any-return]


def betas(ranking: Ranking) -> alt.LayerChart | None:
    """beta1 against lr, by value; another pair of searched numbers where these two were not searched.

    None where fewer than two numbers were searched.
    """
    found = axes(ranking)
    pair = _pair(ranking, found)
    if pair is None:
        return None
    x, y = pair
    minimized = ranking.study.direction == "minimize"
    scale = value_scale(ranking)
    ends = [scale.low, scale.high] if scale else [0, 1]
    base = alt.Chart(named("trials"))
    base = base.transform_filter(f"{is_on(x)} && {is_on(y)}").encode(
        alt.X(f"{x.key}:Q", scale=setting_scale(x), title=x.title, axis=_ticks(x)),
        alt.Y(f"{y.key}:Q", scale=setting_scale(y), title=y.title, axis=_ticks(y)),
        tooltip=tooltip(found, ranking.study.metric),
    )
    color = alt.Color(
        "value:Q",
        scale=alt.Scale(
            domain=ends, clamp=True, reverse=minimized, type="log" if scale and scale.is_log else "linear"
        ),
        legend=alt.Legend(title=ranking.study.metric, format=".3~g", gradientLength=120),
    )
    valued = base.transform_filter("isValid(datum.value)").mark_point(filled=True, size=50)
    valued = valued.encode(color, opacity=faded(0.9)).add_params(chosen(), brush())
    best = base.transform_filter("datum.kind == 'best'").mark_point(size=170, shape="diamond", strokeWidth=2)
    diverged = base.transform_filter("datum.kind == 'diverged'").mark_point(size=40, filled=True)

    shape = kind_shape(ranking)
    chart = layered(
        diverged.encode(shape, color=alt.value(KINDS["diverged"].color), opacity=faded()),
        valued,
        best.encode(color=alt.value(BEST)),
        width=WIDTH * 2,
        height=HEIGHT * 1.4,
    )
    return with_rows(chart, trials=trial_rows(ranking, found))  # type: ignore[no-any-return]


def _pair(ranking: Ranking, found: list[Axis]) -> tuple[Axis, Axis] | None:
    """The two axes: lr and beta1, or the numbers that matter most."""
    order = ["lr", "beta1", *(each.setting for each in ranking.importance), *(axis.name for axis in found)]
    numbers = {axis.name: axis for axis in found if not axis.values and axis.scale}
    chosen_axes = [numbers[name] for name in dict.fromkeys(order) if name in numbers]
    return (chosen_axes[0], chosen_axes[1]) if len(chosen_axes) > 1 else None


def note(ranking: Ranking) -> list[str]:
    """What is not drawn where it is: outliers, and trials left out."""
    lines, scale = [], value_scale(ranking)
    shown = drawn(ranking)
    if scale is not None:
        minimized = ranking.study.direction == "minimize"
        values = [each for each in (last_value(row.trial) for row in shown) if each is not None]
        far = sum(each > scale.high if minimized else each < scale.low for each in values)
        limit = f"above {rounded(scale.high)}" if minimized else f"below {rounded(scale.low)}"
        lines += [f"{far} of {len(values)} values are {limit} and stand at the edge."] if far else []
    if len(shown) < len(ranking.rows):
        lines.append(
            f"{len(shown)} of {len(ranking.rows)} trials are drawn: the best, and a part of the others."
        )
    return lines
