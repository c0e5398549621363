"""A study's trials as pandas data frames, to filter, group and plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

import pandas as pd

from adamtune.analysis.ranking import BASELINE, Ranking, Row, in_order
from adamtune.storage.records import State

# pandas' own types for what may be missing: NumPy's would turn integers with a gap into floats.
_DTYPES = {
    "boolean": "boolean",
    "integer": "Int64",
    "floating": "float64",
    "mixed-integer-float": "float64",
    "string": "string",
}
"""The dtype of a column by the kind of its values, as pandas infers it; any other column is of objects."""

# As categories, these group and plot in a fixed order.
_CHOICES = {"state", "optimizer", "schedule"}
_COLUMNS = ("rank", "number", "state", "value", "seeds", "steps", "seconds", "diverged_at")


def trial_frame(ranking: Ranking, rows: Sequence[Row] | None = None) -> pd.DataFrame:
    """One row a trial, in the order of the ranking.

    Args:
        ranking: the ranked study, from ``ranking.rank``.
        rows: the trials to include; all if None.

    Returns:
        ``rank``, ``number``, ``state``, ``value`` and ``seeds`` (a list of floats), a column for each
        setting and each metric, then ``steps``, ``seconds`` and ``diverged_at``. A missing value is NA,
        in a column of floats NaN. A setting that has the name of another column is ``params.NAME``, such
        a metric ``metrics.NAME``.
    """
    rows = ranking.rows if rows is None else rows
    trials = [row.trial for row in rows]
    numbers = [trial.number for trial in trials]
    states = ["baseline" if trial.number == BASELINE else trial.state for trial in trials]
    settings = _spread("params", [trial.settings for trial in trials], in_order, _COLUMNS)
    metrics = _spread("metrics", [trial.metrics for trial in trials], sorted, (*_COLUMNS, *settings))
    columns = {
        "rank": pd.array([row.rank for row in rows], dtype="Int64"),
        "number": pd.array([None if each == BASELINE else each for each in numbers], dtype="Int64"),
        "state": pd.Categorical(states, [*get_args(State), "baseline"]),
        "value": pd.Series([trial.value for trial in trials], dtype="float64"),
        "seeds": pd.Series([list(trial.seeds) for trial in trials], dtype="object"),
        **settings,
        **metrics,
        "steps": pd.array([trial.steps for trial in trials], dtype="Int64"),
        "seconds": pd.Series([trial.seconds for trial in trials], dtype="float64"),
        "diverged_at": pd.array([trial.diverged_at for trial in trials], dtype="Int64"),
    }
    return pd.DataFrame(columns)


def curve_frame(ranking: Ranking) -> pd.DataFrame:
    """One row an evaluation: the number of the ``trial``, the optimizer ``step``, the objective's ``value``.

    Trials are in the order of the ranking, the evaluations of each in the order of its training.
    """
    points = [
        (row.trial.number, step, value)
        for row in ranking.rows
        for step, value in row.trial.intermediate.items()
    ]
    frame = pd.DataFrame(points, columns=["trial", "step", "value"])
    return frame.astype({"trial": "int64", "step": "int64", "value": "float64"})


def _spread(
    group: str,
    mappings: Sequence[Mapping[str, Any]],
    order: Callable[[Iterable[str]], Iterable[str]],
    taken: Iterable[str],
) -> dict[str, pd.Series]:
    """A column for every key of the mappings, one mapping a trial."""
    names = order({name for each in mappings for name in each})
    return {
        f"{group}.{name}" if name in taken else name: _column(name, [each.get(name) for each in mappings])
        for name in names
    }


def _column(name: str, values: list[Any]) -> pd.Series:
    kind = pd.api.types.infer_dtype(values, skipna=True)
    return pd.Series(values, dtype="category" if name in _CHOICES else _DTYPES.get(kind, "object"))
