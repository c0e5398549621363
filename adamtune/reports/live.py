"""The progress of a search: a live display on a terminal, a line for each batch of trials elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adamtune.reports.console import counts, without_echo
from adamtune.reports.text import chart, clock, rounded, setting
from adamtune.search.progress import Observer, Progress
from adamtune.storage.records import TrialRecord

# Drawing stops the training, for a few milliseconds each time.
_SECONDS_BETWEEN_FRAMES = 1 / 8


@contextmanager
def progress_view(out: Console) -> Iterator[Observer]:
    """The observer of a search that shows its progress. It draws in its calls, without a thread."""
    if not out.is_terminal or out.is_dumb_terminal:
        yield _until_closed(_log(out))
        return
    out.soft_wrap = False  # Live counts the lines that it redraws
    with without_echo(), Live(console=out, auto_refresh=False, transient=True) as live:
        # The first call draws.
        last = -_SECONDS_BETWEEN_FRAMES

        def draw(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS_BETWEEN_FRAMES:
                live.update(view(progress, out.width), refresh=True)
                last = time.monotonic()

        yield _until_closed(draw)


def _until_closed(observe: Observer) -> Observer:
    """Calls ``observe`` until its output is closed (``| head``, a full disk); the search continues."""
    closed = False

    def observe_while_open(progress: Progress) -> None:
        nonlocal closed
        if not closed:
            try:
                observe(progress)
            except OSError:
                closed = True

    return observe_while_open


def _log(out: Console) -> Observer:
    printed, stage = 0, ""

    def print_lines(progress: Progress) -> None:
        nonlocal printed, stage
        for note in progress.notes[printed:]:
            out.print(note)
        printed = len(progress.notes)
        if progress.last_batch:
            out.print("; ".join(filter(None, (_standing(progress), _best_value(progress), _pace(progress)))))
        if progress.stage != stage:
            out.print(progress.stage)
        stage = progress.stage

    return print_lines


def _standing(progress: Progress) -> str:
    return f"{progress.done}/{progress.total} trials, {counts(progress.counts)}"


def _best_value(progress: Progress) -> str:
    best = progress.best
    return f"best {progress.metric} {rounded(best.final_value)} (trial {best.number})" if best else ""


def _pace(progress: Progress) -> str:
    """The trials a minute of this run, and the remaining time at that pace."""
    # Of a long training, the first trial ends after minutes; the parts that are done give a pace at once.
    trained = progress.ended + progress.under_way
    if not trained or not progress.elapsed:
        return ""
    pace = trained / progress.elapsed
    left = max(progress.total - progress.done - progress.under_way, 0) / pace
    return f"{rounded(60 * pace, 3)} trials/min, {clock(left)} left"


def view(progress: Progress, width: int) -> RenderableType:
    """The whole live display."""
    bar = Table.grid(padding=(0, 2), expand=True)
    bar.add_row(
        Text(progress.study, style="bold", no_wrap=True),
        ProgressBar(total=max(progress.total, 1), completed=progress.done + progress.under_way),
        Text(f"{progress.done}/{progress.total}", no_wrap=True),
    )
    pace = progress.stage or _pace(progress)
    times = "; ".join(filter(None, (f"{clock(progress.elapsed)} elapsed", pace)))
    parts: list[RenderableType] = [bar, Text(f"{counts(progress.counts)}; {times}")]
    parts += [Text(note, style="dim") for note in progress.notes]
    if progress.best:
        parts += [Padding(_best(progress, progress.best, width), (1, 0, 0, 0))]
    return Group(*parts)


def _best(progress: Progress, best: TrialRecord, width: int) -> RenderableType:
    settings = "  ".join(f"{name}={setting(name)(value)}" for name, value in best.settings.items())
    return Group(
        Text(f"Best: trial {best.number}, {progress.metric} {rounded(best.final_value)}", style="bold green"),
        Text(settings),
        # 12 columns are for the labels of the axis; ten evaluations need no more than 60.
        *_curve(best, max(min(width - 12, 60), 20)),
    )


def _curve(best: TrialRecord, width: int, height: int = 5) -> list[Text]:
    """The learning curve; the axes show its highest and lowest value and its first and last step."""
    points = sorted(best.intermediate.items())
    rows = chart(points, width, height)
    if not rows:
        return []
    values = [value for _, value in points]
    labels = [rounded(max(values)), *[""] * (height - 2), rounded(min(values))]
    first, last = f"step {points[0][0]}", str(points[-1][0])
    lines = [f"{label:>10} {row}" for label, row in zip(labels, rows, strict=True)]
    return [Text(line, style="cyan") for line in (*lines, f"{'':11}{first}{last:>{width - len(first)}}")]
