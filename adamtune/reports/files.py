"""Reports as JSON, CSV and Markdown, and the file that they are written to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamtune.analysis.advice import advise
from adamtune.analysis.ranking import BASELINE, Ranking, Row
from adamtune.config.settings_file import SettingsFile, settings_notation, task_name
from adamtune.errors import AdamtuneError
from adamtune.recipe import Recipe
from adamtune.reports.table import columns
from adamtune.storage.records import TrialRecord

if TYPE_CHECKING:
    from adamtune.analysis.verdict import Verdict


def to_json(ranking: Ranking, rows: Sequence[Row], importance: bool = False) -> str:
    """Strict JSON, one trial a line; NaN and infinity are null.

    Args:
        ranking: the ranked study.
        rows: the trials to include.
        importance: whether the importance of the settings is included.
    """
    head = {
        "study": ranking.study.name,
        "metric": ranking.study.metric,
        "direction": ranking.study.direction,
        "counts": ranking.counts,
        "verdict": verdict_values(ranking.verdict),
        "baseline": ranking.baseline and _trial(ranking.baseline),
        "ablations": [each._asdict() for each in ranking.effects],
        "advice": [each._asdict() for each in advise(ranking)],
        **({"importance": [each._asdict() for each in ranking.importance]} if importance else {}),
    }
    trials = ",\n".join(f"  {_dumps(_trial(row))}" for row in rows)
    # One trial a line, which `grep` and `diff` can use: the head's closing brace moves to the end.
    return f'{_dumps(head)[:-1]},\n "trials": [' + (f"\n{trials}\n ]" if trials else "]") + "}\n"


def verdict_values(found: Verdict | None) -> dict[str, Any] | None:
    """The verdict; a difference is the candidate minus the baseline, in the metric's own units."""
    if found is None:
        return None
    named = {"candidate": found.candidate, "baseline": found.baseline}
    sides = {
        name: each and {"trial": each.trial, "mean": each.mean, "n": each.n} for name, each in named.items()
    }
    return {
        "outcome": found.outcome,
        "metric": found.metric,
        **sides,
        "difference": found.difference,
        "interval": found.interval,
        "level": found.level,
        "detectable": found.detectable,
        "sentence": found.sentence,
        "metrics": found.metrics,
    }


def _trial(row: Row) -> dict[str, Any]:
    trial = row.trial
    diverged = {} if trial.diverged_at is None else {"diverged_at": trial.diverged_at}
    failure = {} if trial.failure is None else {"failure": trial.failure}
    return {
        "rank": row.rank,
        "number": None if trial.number == BASELINE else trial.number,
        "state": trial.state,
        "value": trial.value,
        "seeds": trial.seeds,
        "params": trial.settings,
        "metrics": trial.metrics,
        "intermediate": trial.intermediate,
        "steps": trial.steps,
        "seconds": trial.seconds,
        **diverged,
        **failure,
    }


def _dumps(value: Any) -> str:
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """``value`` with null for each NaN and infinity in it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def to_csv(ranking: Ranking, rows: Sequence[Row]) -> str:
    """One row a trial with all its settings and metrics; lists and switches are written as in JSON."""
    from adamtune.analysis.frames import trial_frame  # imports pandas

    # pandas would write inf, which JSON has not: the two formats agree.
    frame = trial_frame(ranking, _with_baseline(ranking, rows)).replace([math.inf, -math.inf], math.nan)
    for name, column in frame.select_dtypes(["boolean", "object"]).items():
        frame[name] = column.map(_dumps, na_action="ignore")
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _with_baseline(ranking: Ranking, rows: Sequence[Row]) -> list[Row]:
    return [*rows, *([ranking.baseline] if ranking.baseline else [])]


def to_markdown(ranking: Ranking, rows: Sequence[Row]) -> str:
    """The ranked table: one row a trial, with the searched settings."""
    table = columns(ranking, _with_baseline(ranking, rows))
    rules = ["---" if column.left else "---:" for column in table]
    rows_of_cells = zip(*(column.cells for column in table), strict=True)
    lines = [[column.name for column in table], rules, *rows_of_cells]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def to_settings(ranking: Ranking, trial: TrialRecord) -> str:
    """The settings of a trial as a settings file; see ``config.settings_file.SettingsFile``."""
    study, verdict = ranking.study, ranking.verdict
    known, is_baseline = study.study or {}, trial.number == BASELINE
    task, both = known["task"], (verdict.candidate, verdict.baseline) if verdict else ()
    own = {name: each for name, each in trial.settings.items() if name in known["space"]["task"]}
    fresh = next((each.values for each in both if each and each.settings == trial.settings), ())
    file = SettingsFile(
        settings=settings_notation(trial.settings),
        task={"name": task_name(task.get("name", "command")), **task["settings"], **own},
        study=study.name,
        trial=None if is_baseline else trial.number,
        metric=study.metric,
        direction="minimize" if study.direction == "minimize" else "maximize",
        value=None if is_baseline else trial.value,
        fresh_values=tuple(filter(math.isfinite, fresh)),
        code_hash=study.code_hash,
        data_hash=study.data_hash,
        recipe={name: known[name] for name in Recipe._fields if name in known},
        versions=study.versions,
    )
    return json.dumps(file.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Writes ``text`` to ``path``, completely or not at all.

    Raises:
        AdamtuneError: it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            path.write_text(text, encoding="utf-8")
            return
        path = Path(os.path.realpath(path))  # unlike resolve, for links that lead to themselves too
        # In the same folder, because a file cannot be renamed across file systems.
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise AdamtuneError(f"cannot write {path}: {error.strerror or error}") from error
