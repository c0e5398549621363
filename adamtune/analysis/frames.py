"""A study's trials as pandas data frames, to filter, group and plot.

CSV, the charts and the table of the page are written from them. JSON, which nests settings and metrics, and
Markdown, which has the columns of the terminal's table, are written from the same rows without pandas, whose
import takes as long as all else of a report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import pandas as pd

from adamtune.analysis.confirmation import LR, Confirmation, Result, of_lr
from adamtune.analysis.importance import Importance
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

_ENDINGS = ("diverged_at", "failure")
"""What the result of a fresh training has in place of metrics where it did not finish."""
_TAKEN = ("side", "trial", "seed", *_ENDINGS)


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


def confirmation_frame(ranking: Ranking) -> pd.DataFrame:
    """One row a fresh training of the confirmation, in the order in which they are trained.

    Returns:
        ``side``, the ``trial`` whose settings were trained, the number of the ``seed`` among those of the
        comparison, a column for each metric, then ``diverged_at`` and ``failure``. ``side`` is ``candidate``
        or ``baseline`` for the pairs that the verdict is about, ``finalist`` where the best trials are
        compared, ``without NAME`` where one setting is put back, and ``lr VALUE`` where the lr of the
        baseline is tuned (first on a seed of its own, which is NA). No rows for a study without a
        confirmation, or with one of other trials.
    """
    found = ranking.verdict.confirmation if ranking.verdict else None
    trainings = [*_trainings(found)] if found else []
    columns = {
        "side": pd.Series([each.side for each in trainings], dtype="string"),
        "trial": pd.array([each.trial for each in trainings], dtype="Int64"),
        "seed": pd.array([each.seed for each in trainings], dtype="Int64"),
        **_spread(
            "metrics", [each.metrics for each in trainings], sorted, ("side", "trial", "seed", *_ENDINGS)
        ),
        "diverged_at": pd.array([each.result.get("diverged_at") for each in trainings], dtype="Int64"),
        "failure": pd.Series([each.result.get("failure") for each in trainings], dtype="string"),
    }
    return pd.DataFrame(columns)


class _Training(NamedTuple):
    side: str
    trial: int | None
    seed: int | None
    result: Result

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics by the names that the verdict has, without those of parts of the test rows."""
        return {
            name.replace("/", "_"): value
            for name, value in self.result.items()
            if name not in _ENDINGS and not name.startswith("test.")
        }


def _trainings(confirmation: Confirmation) -> Iterator[_Training]:
    lrs = {of_lr(place): f"{LR} {lr:g}" for place, lr in enumerate(confirmation.lrs)}
    for role, results in confirmation.results.items():
        for number, result in sorted(results.items()):
            if role == LR:
                yield _Training(lrs[of_lr(number)], None, None, result)
            elif role.isdigit():
                yield _Training("finalist", int(role), number, result)
            elif role == "baseline" or role in lrs:
                yield _Training(lrs.get(role, role), None, number, result)
            else:  # the winner, whole or with a setting put back
                side = "candidate" if role == "winner" else role
                yield _Training(side, confirmation.winner, number, result)


def importance_frame(ranking: Ranking) -> pd.DataFrame:
    """One row a searched setting: its ``share`` of the variance of the ranks and that of ``noise``.

    The columns are the fields of ``importance.Importance``; no rows with too few trials.
    """
    frame = pd.DataFrame(ranking.importance, columns=list(Importance._fields))
    return frame.astype({"setting": "string"} | dict.fromkeys(Importance._fields[1:], "float64"))


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
