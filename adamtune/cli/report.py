"""``adamtune report``."""

from __future__ import annotations

import io
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated

import typer

from adamtune.cli.options import STORAGE, STUDY, Storage

if TYPE_CHECKING:
    from adamtune.analysis.ranking import Ranking

TABLE_ROWS = 20


class Format(StrEnum):
    """A table for people, or a form for programs and pages."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


def report(
    study: Annotated[str | None, STUDY] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            metavar="N",
            help=f"Only the first N trials. A table shows {TABLE_ROWS} unless told otherwise; the rest all.",
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="For people, or for programs.")] = Format.table,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write to this file instead.")
    ] = None,
    storage: Storage = STORAGE,
) -> None:
    """Rank the trials of a study: of the latest one, if none is named."""
    from adamtune.analysis.ranking import rank
    from adamtune.storage.location import check_output, file_path
    from adamtune.storage.reading import latest_study, read_study

    file = None if output is None else file_path(output)
    if file is not None:
        check_output(file, storage)
    ranking = rank(read_study(storage, study or latest_study(storage)))
    if file is None:
        typer.echo(_text(ranking, format, top, storage, None), nl=False)
    else:
        from adamtune.reports.files import write_atomically

        write_atomically(file, _text(ranking, format, top, storage, io.StringIO()))


def _text(ranking: Ranking, format: Format, top: int | None, storage: str, screen: IO[str] | None) -> str:
    """The report; a table is coloured and fitted for ``screen`` (None: stdout)."""
    from adamtune.reports import files

    if format is Format.table:
        from adamtune.cli.result import show_result
        from adamtune.reports.console import console

        out = console(file=screen)
        with out.capture() as captured:
            show_result(out, ranking, storage, top or TABLE_ROWS)
        return captured.get()
    write = {Format.json: files.to_json, Format.csv: files.to_csv, Format.markdown: files.to_markdown}
    return write[format](ranking, ranking.rows[:top])
