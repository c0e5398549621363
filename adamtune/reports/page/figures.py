"""The figures of the page: each a title, notes, and charts with their alternative texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import altair as alt

from adamtune.analysis.ranking import Ranking
from adamtune.reports import charts
from adamtune.reports.axes import axes
from adamtune.reports.charts.rows import trial_rows
from adamtune.reports.charts.settings import MOST_LINES
from adamtune.reports.charts.style import BRUSH, Chart, with_rows

NOTES: Mapping[str, Callable[[Ranking], list[str]]] = {
    "curves": charts.curve_note,
    "importance": lambda _: ["The grey mark of each: what a setting without effect may get by chance."],
    "parallel": lambda ranking: (
        [f"{MOST_LINES} of {len(ranking.rows)} trials are drawn."] if len(ranking.rows) > MOST_LINES else []
    ),
}
"""What is said of a figure, by its name."""


@dataclass(frozen=True)
class Figure:
    """A section of the page.

    Attributes:
        name: what its element is called.
        title: its heading.
        layout: its class in the style sheet: ``grid`` for many small charts, ``half`` or ``whole``.
        charts: Vega-Lite specifications by the ids of their elements.
        notes: what is not drawn as it is.
    """

    name: str
    title: str
    layout: str
    charts: Mapping[str, dict[str, Any]]
    notes: Sequence[str] = field(default=())


def figures(ranking: Ranking) -> list[Figure]:
    """The figures that a study has data for, in the order of the page."""
    single: list[tuple[str, str, str, Callable[[Ranking], Chart | None]]] = [
        ("curves", "Learning curves", "half", charts.curves),
        ("best", "Best so far", "half", charts.best_so_far),
        ("importance", "Importance", "half", charts.importance),
        ("betas", f"{ranking.study.metric} by two settings", "half", charts.betas),
        ("schedule", "Learning rate of the recommended settings", "half", charts.schedule),
        ("parallel", "All settings at once", "whole", charts.parallel),
    ]
    found = [_slices(ranking)]
    for name, title, layout, draw in single:
        chart = draw(ranking)
        if chart is not None:
            notes = NOTES[name](ranking) if name in NOTES else []
            found.append(_figure(name, title, layout, {name: chart}, notes))
    return _filled([each for each in found if each.charts])


def _filled(found: list[Figure]) -> list[Figure]:
    """The figures, the last of an odd number of halves whole, so that there is no gap beside it."""
    halves = [place for place, each in enumerate(found) if each.layout == "half"]
    if len(halves) % 2:
        found[halves[-1]] = replace(found[halves[-1]], layout="whole")
    return found


def _slices(ranking: Ranking) -> Figure:
    every = axes(ranking)
    rows = trial_rows(ranking, every)
    pictures = {
        f"slice-{axis.key}": with_rows(charts.slice_of(ranking, axis, every), trials=rows) for axis in every
    }
    title = f"{ranking.study.metric} by setting"
    return _figure("slices", title, "grid", pictures, charts.note(ranking))


def _figure(
    name: str, title: str, layout: str, pictures: Mapping[str, Chart], notes: Sequence[str] = ()
) -> Figure:
    specs = {key: _spec(chart) for key, chart in pictures.items()}
    for spec in specs.values():
        spec["description"] = f"{title}. {spec.get('description', '')}".strip()
    own = [note for spec in specs.values() for note in spec.get("usermeta", {}).get("notes", ())]
    return Figure(name, title, layout, specs, [*notes, *own])


def _spec(chart: Chart) -> dict[str, Any]:
    """A chart as Vega-Lite, as wide as its element; ``usermeta`` names the data that an area chooses."""
    datasets, chart.datasets = chart.datasets, alt.Undefined
    spec: dict[str, Any] = chart.to_dict()
    spec["datasets"] = {**spec.get("datasets", {}), **({} if datasets is alt.Undefined else datasets)}
    for name in ("$schema", "config"):
        spec.pop(name, None)
    spec |= {"width": "container", "autosize": {"type": "fit", "contains": "padding"}}
    for layer in spec.get("layer", ()):
        _leave_tooltip(layer)
    views = [view for each in spec.get("params", ()) if each["name"] == BRUSH for view in each["views"]]
    layers = [each for each in spec.get("layer", ()) if each.get("name") in views]
    if layers:
        data = layers[0].get("data", spec.get("data"))
        spec["usermeta"] = {**spec.get("usermeta", {}), "brushed": data["name"]}
    return spec


def _leave_tooltip(layer: dict[str, Any]) -> None:
    """Leaves the tooltip of a trial to the page: a chart writes those of all trials when it is drawn."""
    encoding = layer["encoding"]
    if any(each["field"] == "kind" for each in encoding.get("tooltip", ())):
        del encoding["tooltip"]
        layer["mark"]["tooltip"] = {"content": "data"}
