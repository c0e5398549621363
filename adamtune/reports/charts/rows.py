"""What the charts draw: one row a trial, few enough and rounded, with the values on their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isnan
from typing import Any

import altair as alt
import pandas as pd

from adamtune.analysis.frames import trial_frame
from adamtune.analysis.ranking import Ranking, Row
from adamtune.reports.axes import Axis
from adamtune.reports.curves import Scale
from adamtune.storage.records import TrialRecord, shown_state

MOST_TRIALS = 2000
"""More trials than these are not drawn: a point less is not missed among so many."""
DIGITS = 6
"""Significant digits of the numbers, which keep a page small."""
_EDGE = 1.06
"""Where what is beyond the axis of the values stands on it."""


def drawn(ranking: Ranking, most: int = MOST_TRIALS) -> Sequence[Row]:
    """The trials that are drawn: a quarter of ``most`` are the best, the others spread over the rest."""
    if len(ranking.rows) <= most:
        return ranking.rows
    best = most // 4
    rest = ranking.rows[best:]
    return [*ranking.rows[:best], *(rest[place * len(rest) // (most - best)] for place in range(most - best))]


def last_value(trial: TrialRecord) -> float | None:
    """The value of a trial, or the last finite one of a trial that was pruned; None if it diverged."""
    if trial.state == "diverged":
        return None
    values = [trial.value, *[*trial.intermediate.values()][::-1]]
    return next((each for each in values if each is not None and isfinite(each)), None)


def value_scale(ranking: Ranking) -> Scale | None:
    """The axis of the values, without outliers at the worse end; None where no trial has a value."""
    values = [each for each in map(last_value, ranking.study.trials) if each is not None]
    return with_width(Scale.of(values, ranking.study.direction))


def with_width(scale: Scale | None) -> Scale | None:
    """A scale whose ends differ."""
    if scale is None or scale.low < scale.high:
        return scale
    margin = abs(scale.low) / 10 or 1.0
    return Scale(scale.low - margin, scale.high + margin)


def trial_rows(
    ranking: Ranking, axes: Sequence[Axis], rows: Sequence[Row] | None = None
) -> list[dict[str, Any]]:
    """A row for each trial of the charts.

    Args:
        ranking: the ranked study.
        axes: the axes of its settings.
        rows: the trials; those of ``drawn`` by default.

    Returns:
        The ``trial``, its ``rank``, ``kind`` (its state, or ``best``), ``value``, ``shown`` (where it stands
        on the axis of the values), and each setting under the key of its axis. What a trial lacks is absent.
    """
    rows = drawn(ranking) if rows is None else rows
    frame, scale = trial_frame(ranking, rows), value_scale(ranking)
    last = [last_value(row.trial) for row in rows]
    columns = {
        "trial": frame["number"],
        "rank": frame["rank"],
        "kind": [kind_of(ranking, row.trial) for row in rows],
        "value": last,
        "shown": [place_of(row.trial, value, scale, ranking) for row, value in zip(rows, last, strict=True)],
        "steps": frame["steps"],
        "seconds": frame["seconds"],
        **{key: frame[_column(frame, "metrics", name)] for name, key in metric_fields(ranking).items()},
        **{axis.key: _on_axis(frame, axis) for axis in axes},
    }
    return records(columns)


def kind_of(ranking: Ranking, trial: TrialRecord) -> str:
    """The state of a trial as people read it, or ``best``."""
    return "best" if trial is ranking.best else shown_state(trial.state, ranking.study.in_use)


def _on_axis(frame: pd.DataFrame, axis: Axis) -> list[Any]:
    column = _column(frame, "params", axis.name)
    values = frame[column] if column in frame else [None] * len(frame)  # settings of another program
    return [None if is_missing(each) else axis.at(each) for each in values]


def _column(frame: pd.DataFrame, group: str, name: str) -> str:
    """The column of a setting or a metric, whose name may be that of another."""
    return f"{group}.{name}" if f"{group}.{name}" in frame else name


def metric_fields(ranking: Ranking) -> dict[str, str]:
    """The field of each metric in the rows of the charts, without the objective."""
    names = {name for each in ranking.study.trials for name in each.metrics}
    return {name: f"m{place}" for place, name in enumerate(sorted(names - {ranking.study.metric}))}


def is_missing(value: Any) -> bool:
    """Whether a cell of a frame has no value."""
    return value is None or value is pd.NA or (isinstance(value, float) and isnan(value))


def place_of(trial: TrialRecord, value: float | None, scale: Scale | None, ranking: Ranking) -> float | None:
    """Where a trial stands on the axis of the values: beyond its worse end if it diverged or is far out."""
    if scale is None:
        return 1.0 if trial.state == "diverged" else None
    minimized = ranking.study.direction == "minimize"
    worst = edge(scale, ranking.study.direction)
    if value is None:
        return worst if trial.state == "diverged" else None
    return value if (value <= scale.high if minimized else value >= scale.low) else worst


def edge(scale: Scale, direction: str) -> float:
    """The place beyond the worse end of the axis, for what has no place on it."""
    return scale.at(_EDGE if direction == "minimize" else 1 - _EDGE)


def records(columns: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
    """The rows of columns, rounded; a cell without a value is absent from its row."""
    rounded = [[plain(each) for each in column] for column in columns.values()]
    return [
        {key: value for key, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*rounded, strict=True)
    ]


def plain(value: Any) -> Any:
    """A value as JSON has it, numbers rounded; None for what is missing or not finite."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if is_missing(value):
        return None
    if isinstance(value, str | bool):
        return value
    if float(value).is_integer() and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None


def inline(rows: list[dict[str, Any]]) -> alt.InlineData:
    """A few rows as the data of a chart."""
    return alt.InlineData(values=rows)
