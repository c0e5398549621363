"""Writes a study as one HTML file: its verdict, its charts, and a table of its trials."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from adamtune.analysis.advice import advise
from adamtune.analysis.ranking import BASELINE, Ranking
from adamtune.reports.as_code import recommended_code
from adamtune.reports.charts.style import kinds
from adamtune.reports.console import counts
from adamtune.reports.page.figures import Figure, figures
from adamtune.reports.page.trials import Table, table


def to_html(ranking: Ranking, live: bool = False) -> str:
    """The page of a study.

    Args:
        ranking: the ranked study.
        live: whether the page is written again while the study runs; then it loads itself again.
    """
    drawn, trials = figures(ranking), table(ranking)
    data = _script_json(_data(drawn, trials))
    scripts = {"vega": vega(), "script": _file("page.js")}
    return Template(_file("page.html")).substitute(
        {name: escape(text) for name, text in _texts(ranking).items()},
        policy=_policy([*scripts.values()]),
        style=_file("page.css"),
        live=' data-live="10"' if live else "",
        advice="".join(f"<li>{escape(each.text)}</li>" for each in advise(ranking)),
        sections="\n".join(_section(each, _legend(ranking)) for each in drawn),
        rows=escape(trials.note),
        data=data,
        **scripts,
    )


def _texts(ranking: Ranking) -> dict[str, str]:
    """What the head of the page says."""
    study, best = ranking.study, ranking.recommended
    order = "lowest" if study.direction == "minimize" else "highest"
    which = "" if best is None else "the baseline" if best.number == BASELINE else f"trial {best.number}"
    return {
        "name": study.name,
        "summary": f"{study.metric}, {order} first; {counts(ranking.counts, study.in_use)}",
        "verdict": _verdict(ranking),
        "outcome": ranking.verdict.outcome if ranking.verdict else "none",
        "recommended": f"Settings of {which}" if which else "",
        "code": recommended_code(ranking) or _plain_settings(ranking),
    }


def _verdict(ranking: Ranking) -> str:
    if ranking.verdict is not None:
        return ranking.verdict.sentence
    if ranking.best is None:
        return "No trial is complete yet."
    best = ranking.best
    return f"Best of the search: {ranking.study.metric} {best.value:.5g}, trial {best.number}."


def _plain_settings(ranking: Ranking) -> str:
    """The settings of the best trial of another program, a line each."""
    best = ranking.recommended
    return "" if best is None else "".join(f"{name} = {value!r}\n" for name, value in best.settings.items())


def _section(figure: Figure, legend: str) -> str:
    charts = "".join(f'<div class="chart" id="{name}"></div>' for name in figure.charts)
    notes = "".join(f"<p class=note>{escape(each)}</p>" for each in figure.notes)
    head = f"<h2>{escape(figure.title)}</h2>{notes}{legend if figure.layout == 'grid' else ''}"
    element = f'section class="{figure.layout}" id="section-{figure.name}"'
    return f'<{element}>{head}<div class="charts">{charts}</div></section>'


def _legend(ranking: Ranking) -> str:
    """What the marks of the charts mean."""
    items = (
        f'<li><span style="color:{kind.color}">{kind.mark}</span> {name}</li>'
        for name, kind in kinds(ranking).items()
    )
    return f"<ul class=legend>{''.join(items)}</ul>"


def _data(drawn: Sequence[Figure], trials: Table) -> dict[str, Any]:
    """What the script draws: every data set once, the charts by the ids of their elements, the table."""
    charts = {name: dict(spec) for figure in drawn for name, spec in figure.charts.items()}
    datasets: dict[str, Any] = {}
    for spec in charts.values():
        datasets |= spec.pop("datasets")
    # With few enough trials, the charts draw the rows of the table.
    name = "trials" if datasets.get("trials") == trials.rows else "table"
    datasets[name] = trials.rows
    return {"datasets": datasets, "charts": charts, "table": {"data": name, "columns": trials.columns}}


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: ``</script>`` in it would end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")


def _policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts run, and nothing is loaded from anywhere."""
    hashes = [f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in scripts]
    # Vega and its tooltips write style attributes and elements.
    rules = ["default-src 'none'", f"script-src {' '.join(hashes)}", "style-src 'unsafe-inline'"]
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, with Vega's interpreter of expressions."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", r"<\/script")


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
