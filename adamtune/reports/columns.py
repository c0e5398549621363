"""A ranking as columns of text, which Markdown and the console lay out."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from adamtune.reports import numbers
from adamtune.reports.grid import Column
from adamtune.reports.ranking import Ranking, Row
from adamtune.reports.sparkline import sparkline
from adamtune.storage.records import TrialRecord


def columns(ranking: Ranking, rows: Sequence[Row], digits: int = 3, curve: int = 10) -> list[Column]:
    """Everything the ranked table shows, settings with ``digits`` significant digits."""
    trials = [row.trial for row in rows]
    spread = [_spread(trial) for trial in trials]
    return [
        Column("rank", [str(row.rank or "-") for row in rows]),
        Column("trial", [str(trial.number) for trial in trials]),
        Column("value", [_value(trial) for trial in trials]),
        *([Column("sd", spread)] if any(spread) else []),
        *(_setting(name, trials, digits) for name in ranking.searched),
        Column("steps", [str(trial.steps) for trial in trials]),
        Column("seconds", [numbers.seconds(trial.seconds) for trial in trials]),
        Column("curve", [sparkline(list(trial.intermediate.values()), curve) for trial in trials], left=True),
    ]


def _setting(name: str, trials: Sequence[TrialRecord], digits: int) -> Column:
    write = numbers.setting(name, digits)
    values = [trial.settings.get(name) for trial in trials]
    left = any(isinstance(value, str) for value in values)
    return Column(name, ["" if value is None else write(value) for value in values], left, setting=True)


def _value(trial: TrialRecord) -> str:
    """The value of a complete trial, the state of any other."""
    if trial.state == "complete" and trial.value is not None:
        return numbers.rounded(trial.value)
    return trial.state


def _spread(trial: TrialRecord) -> str:
    """The standard deviation over the training seeds, where there are several."""
    several = trial.state == "complete" and len(trial.seeds) > 1
    return numbers.rounded(statistics.stdev(trial.seeds), 2) if several else ""
