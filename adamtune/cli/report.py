"""``adamtune report``."""

from __future__ import annotations

import io
import re
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from adamtune.cli.options import STORAGE, STUDY, Storage
from adamtune.errors import UsageError

if TYPE_CHECKING:
    from adamtune.analysis.ranking import Ranking

TABLE_ROWS = 20


class Format(StrEnum):
    """The formats of a report."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"


SUFFIXES = {
    ".json": Format.json,
    ".csv": Format.csv,
    ".md": Format.markdown,
    ".markdown": Format.markdown,
    ".html": Format.html,
    ".htm": Format.html,
    ".txt": Format.table,
}


def report(
    study: Annotated[str | None, STUDY] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            metavar="N",
            help=f"First N trials only (default: all, {TABLE_ROWS} in a table)",
        ),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="Output format (default: by the suffix of --output, else table)"),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write the report to this file")
    ] = None,
    importance: Annotated[
        bool, typer.Option("--importance", help="Say how much each setting explains (table, JSON)")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the HTML page in a browser (default file: STUDY.html)")
    ] = False,
    storage: Storage = STORAGE,
) -> None:
    """Rank the trials of a study (default: the latest study)."""
    from adamtune.analysis.ranking import rank
    from adamtune.storage.location import check_output, file_path
    from adamtune.storage.studies import latest_study, read_study

    file = None if output is None else file_path(output)
    format = format or (Format.html if open_page and file is None else format_of(file))
    _check_options(format, top, importance, open_page)
    if file is not None:
        check_output(file, storage)
    ranking = rank(read_study(storage, study or latest_study(storage)))
    if open_page and file is None:
        file = Path(_file_name(ranking.study.name) + ".html")
        check_output(file, storage)
    if file is None:
        typer.echo(_text(ranking, format, top, storage, None, importance), nl=False)
    else:
        from adamtune.reports.files import write_atomically

        write_atomically(file, _text(ranking, format, top, storage, io.StringIO(), importance))
        if open_page:
            _open(file)


def _check_options(format: Format, top: int | None, importance: bool, open_page: bool) -> None:
    """Checks that the options fit the format.

    Raises:
        UsageError: ``--open`` of another format than HTML, or ``--top`` of it.
    """
    if open_page and format is not Format.html:
        raise UsageError(f"--open opens an HTML page, and the format is {format}. Use --format html.")
    if format is Format.html and top is not None:
        raise UsageError("--top: the HTML page has every trial. Leave --top out.")


def _file_name(study: str) -> str:
    """The name of a study as the name of a file in the current folder."""
    return re.sub(r"[^\w.-]+", "-", study).strip(".-") or "study"


def _open(file: Path) -> None:
    """Opens a page in the browser, or says where it is."""
    import webbrowser

    if not webbrowser.open(file.absolute().as_uri()):
        typer.echo(f"No browser could be started. The page is {file}.", err=True)


def format_of(output: Path | None) -> Format:
    """The format that the suffix of a file names; a table where there is none.

    Raises:
        UsageError: the suffix is unknown.
    """
    suffix = output.suffix.lower() if output else ""
    if suffix and suffix not in SUFFIXES:
        raise UsageError(
            f"--output {output}: no format has the suffix {suffix}. Use one of {', '.join(SUFFIXES)},"
            f" or choose with --format {'|'.join(Format)}."
        )
    return SUFFIXES.get(suffix, Format.table)


def _text(
    ranking: Ranking,
    format: Format,
    top: int | None,
    storage: str,
    screen: IO[str] | None,
    importance: bool,
) -> str:
    """The report as text; a table has the width and the colours of ``screen`` (None: stdout)."""
    from adamtune.reports import files

    if format is Format.table:
        from adamtune.cli.result import show_result
        from adamtune.reports.console import console

        out = console(file=screen)
        # Printed in one piece at the end: an error in the middle leaves no half of a table on stdout.
        with out.capture() as captured:
            show_result(out, ranking, storage, top or TABLE_ROWS, importance, plot=True)
        return captured.get()
    if format is Format.json:
        return files.to_json(ranking, ranking.rows[:top], importance)
    if format is Format.html:
        from adamtune.reports.page.page import to_html

        return to_html(ranking)
    write = {Format.csv: files.to_csv, Format.markdown: files.to_markdown}
    return write[format](ranking, ranking.rows[:top])
