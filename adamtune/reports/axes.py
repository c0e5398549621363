"""The axes of the searched settings: their ranges, their kind, and their default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adamtune.analysis.ranking import Ranking, in_order
from adamtune.catalog import ONE_MINUS
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.reports.curves import Scale
from adamtune.reports.text import setting


@dataclass(frozen=True)
class Axis:
    """The axis of a searched setting.

    Attributes:
        parameter: its name as it is searched, such as ``one_minus_beta1``.
        key: its field in the rows of the charts. Names are not used as fields, because a name of another
            program may hold dots and brackets, which Vega would read as a path.
        scale: its range; None for a choice, and for numbers of which only one is known.
        values: those of a choice, as text, in order; empty for a number.
        default: the baseline's value or the optimizer's default, on this axis; None where it has none.
    """

    parameter: str
    key: str
    scale: Scale | None
    values: tuple[str, ...]
    default: Any = None

    @property
    def name(self) -> str:
        """The name of the setting as it is trained."""
        return self.parameter.removeprefix(ONE_MINUS)

    @property
    def title(self) -> str:
        """The name on the axis."""
        return self.parameter.replace(ONE_MINUS, "1 - ")

    @property
    def complement(self) -> bool:
        """Whether the axis has one minus the setting."""
        return self.parameter != self.name

    def at(self, value: Any) -> Any:
        """A value of the setting on this axis; None where there is none."""
        if value is None or self.values:
            return None if value is None else self.text(value)
        return 1 - value if self.complement else value

    def text(self, value: Any) -> str:
        """A value of the setting as people read it."""
        return setting(self.name)(value)


def axes(ranking: Ranking) -> list[Axis]:
    """An axis for each searched setting, in the order of the catalogs."""
    names = {name for each in ranking.study.trials for name in each.params}
    by_name = {name.removeprefix(ONE_MINUS): name for name in names}
    ordered = [by_name[name] for name in in_order(by_name)]
    return [_axis(ranking, name, f"s{place}") for place, name in enumerate(ordered)]


def _axis(ranking: Ranking, parameter: str, key: str) -> Axis:
    name = parameter.removeprefix(ONE_MINUS)
    found, tried = _searched(ranking, parameter), _tried(ranking, parameter)
    numeric = all(isinstance(each, int | float) and not isinstance(each, bool) for each in tried)
    ranges = [each for each in found if "low" in each]
    if numeric and (ranges or not found):
        default = default_of(ranking, name)
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        empty = Axis(parameter, key, _range(ranges, tried), ())
        return Axis(parameter, key, empty.scale, (), empty.at(default) if is_number else None)
    write = setting(name)
    listed = [value for each in found for value in each.get("values", [each.get("value")])]
    values = [each for each in listed if each is not None] or sorted(tried, key=str)
    texts = tuple(dict.fromkeys(map(write, [*values, *tried])))
    default = default_of(ranking, name)
    return Axis(parameter, key, None, texts, None if default is None else write(default))


def range_of(ranking: Ranking, parameter: str) -> Scale | None:
    """The range in which a number is searched; where that is not known, the range of what was tried.

    None if only one value is known.
    """
    found = _searched(ranking, parameter)
    return _range([each for each in found if "low" in each], _tried(ranking, parameter))


def _searched(ranking: Ranking, parameter: str) -> list[Mapping[str, Any]]:
    """What the study file says of a parameter, for each optimizer or schedule that has it."""
    return [each[parameter] for each in _owners(ranking) if parameter in each]


def _tried(ranking: Ranking, parameter: str) -> list[Any]:
    return [each.params[parameter] for each in ranking.study.trials if parameter in each.params]


def _owners(ranking: Ranking) -> list[Mapping[str, Any]]:
    """What the study file searches, by name, for each optimizer, schedule, the task and the training."""
    space = (ranking.study.study or {}).get("space", {})
    owners = [*space.get("optimizers", {}).values(), *space.get("schedules", {}).values()]
    choices = {group: {"values": [*space.get(f"{group}s", {})]} for group in ("optimizer", "schedule")}
    return [*owners, space.get("task", {}), space.get("training", {}), *([choices] if space else [])]


def _range(ranges: list[Mapping[str, Any]], tried: list[float]) -> Scale | None:
    if ranges:
        low, high = min(each["low"] for each in ranges), max(each["high"] for each in ranges)
        return Scale(low, high, any(each["log"] for each in ranges))
    low, high = min(tried), max(tried)
    return Scale(low, high, is_log=0 < low < high / 10) if low < high else None


def default_of(ranking: Ranking, name: str) -> Any:
    """The baseline's value of a setting, as it is trained; else the default of the best trial's optimizer."""
    found = ranking.verdict.baseline if ranking.verdict else None
    if found is not None:
        return found.settings.get(name)
    optimizer = str(ranking.best.settings.get("optimizer")) if ranking.best else ""
    return OPTIMIZERS[optimizer].defaults.get(name) if optimizer in OPTIMIZERS else None
