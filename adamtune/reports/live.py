"""The progress of a search: a live display on a terminal, a line for each batch of trials elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import wrap

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from adamtune.analysis.ranking import rank
from adamtune.reports.console import counts, is_unicode, styled, without_echo
from adamtune.reports.curves import Scale, staircase
from adamtune.reports.table import table
from adamtune.reports.text import clock, fill, rounded, setting
from adamtune.reports.workers import worker_lines, workers_summary
from adamtune.search.progress import Observer, Progress
from adamtune.storage.records import StudyRecord

_FASTEST, _SLOWEST = 1 / 8, 2.0
"""Seconds between two frames."""
_SHARE = 0.01
"""The part of the time that drawing may take: training waits for it."""

_HOLD, _SHOW = "\x1b[?2026h", "\x1b[?2026l"
"""Makes a terminal show what is written between the two at once; one that does not know them ignores them."""


@contextmanager
def progress_view(out: Console) -> Iterator[Observer]:
    """The observer of a search that shows its progress. It draws in its calls, without a thread."""
    if not out.is_terminal or out.is_dumb_terminal:
        yield _until_closed(_log(out))
        return
    out.soft_wrap = False  # Live counts the lines that it redraws
    with without_echo(), Live(console=out, auto_refresh=False, transient=True) as live:
        screen = _Screen(out, live)
        try:
            yield _until_closed(screen.draw)
        finally:
            screen.follow_width()


class _Screen:
    """Draws frames, at most as often as costs ``_SHARE`` of the time."""

    def __init__(self, out: Console, live: Live) -> None:
        self._out, self._live = out, live
        self._frame: list[Text] = []
        self._width, self._next = out.width, 0.0

    def draw(self, progress: Progress) -> None:
        """Shows the progress, unless the last frame is too young."""
        began = time.monotonic()
        if began < self._next:
            return
        self.follow_width()
        # Not as high as the terminal, which would scroll when the display ends.
        self._frame = view(progress, self._width, self._out.height - 1, is_unicode(self._out))
        self._out.file.write(_HOLD)
        self._live.update(Text("\n", no_wrap=True, overflow="crop").join(self._frame), refresh=True)
        self._out.file.write(_SHOW)
        self._out.file.flush()
        ended = time.monotonic()
        self._next = ended + min(max((ended - began) / _SHARE, _FASTEST), _SLOWEST)

    def follow_width(self) -> None:
        """Erases the lines by which the frame has grown where a terminal that became narrower wrapped it."""
        width = self._out.width
        if width < self._width:
            more = sum(max(line.cell_len - 1, 0) // width for line in self._frame)
            self._out.control(Control(*((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * more))
        self._width = width


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
            parts = _standing(progress), _best_value(progress), _pace(progress), _workers(progress)
            out.print("; ".join(filter(None, parts)))
        now = str(progress.stage or "")
        if now != stage:
            out.print(now)
        stage = now

    return print_lines


def _standing(progress: Progress) -> str:
    return f"{progress.done}/{progress.total} trials, {counts(progress.counts)}"


def _workers(progress: Progress) -> str:
    summary = workers_summary(progress.workers)
    return summary[0].lower() + summary[1:] if summary else ""


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


def view(progress: Progress, width: int, height: int, unicode: bool = True) -> list[Text]:
    """The lines of the live display, at most ``height``: the best trials and their curve where these fit."""
    lines = [_bar(progress, width, unicode)]
    lines += [line for each in _status(progress) for line in _wrapped(each, width)]
    for each in filter(None, (workers_summary(progress.workers), *worker_lines(progress.workers))):
        lines += _wrapped(each, width)
    lines += [line for note in progress.notes for line in _wrapped(note, width, "dim")]
    five = _best_five(progress, width, unicode)
    if len(lines) + len(five) >= height:
        five = _best(progress, width)
    for block in (five, _best_so_far(progress, width, unicode)):
        if block and len(lines) + len(block) < height:
            lines += [Text(), *block]
    return lines[:height]


def _wrapped(line: str, width: int, style: str = "") -> list[Text]:
    return [Text(each, style=style) for each in wrap(line, width)]


def _bar(progress: Progress, width: int, unicode: bool) -> Text:
    """The study, a bar, and how much is done of the trials, or of the trainings after the search."""
    stage = progress.stage
    done, total = (stage.done, stage.most) if stage else (progress.done, progress.total)
    count = f"{done}/{total}"
    name = progress.study[: max(width - len(count) - 14, 1)]  # ten characters of bar, and the gaps
    cells = max(width - len(name) - len(count) - 4, 0)
    filled = done if stage else done + progress.under_way
    full = min(round(cells * filled / max(total, 1)), cells)
    bar = "━" if unicode else "="
    rest = ("─" if unicode else "-") * (cells - full)
    return Text.assemble((name, "bold"), "  ", (bar * full, "green"), (rest, "bright_black"), "  ", count)


def _status(progress: Progress) -> tuple[str, str]:
    """The stage, and the time."""
    stage = str(progress.stage or f"search: {counts(progress.counts)}")
    times = (f"{clock(progress.elapsed)} elapsed", "" if progress.stage else _pace(progress))
    return stage[0].upper() + stage[1:], "; ".join(filter(None, times))


def _best_five(progress: Progress, width: int, unicode: bool) -> list[Text]:
    """The ranked table of the best trials."""
    if not progress.top:
        return []
    record = StudyRecord(
        progress.study, progress.metric, progress.direction, None, None, None, None, {}, progress.top
    )
    ranking = rank(record)
    found = table(ranking, ranking.rows, width, unicode, brief=True)
    return [
        *(Text(line, style="bold cyan") for line in found.heading),
        *map(styled, ranking.rows, found.rows),
        *(Text(line, style="dim") for line in found.common),
    ]


def _best(progress: Progress, width: int) -> list[Text]:
    """The best trial and its settings, for a terminal of few lines."""
    best = progress.best
    if best is None:
        return []
    title = f"Best: trial {best.number}, {progress.metric} {rounded(best.final_value)}"
    settings = [f"{name}={setting(name)(value)}" for name, value in best.settings.items()]
    return [Text(title, style="bold green"), *map(Text, fill(settings, width, "  "))]


def _best_so_far(progress: Progress, width: int, unicode: bool, height: int = 4) -> list[Text]:
    """The best value after each trial that ended; the axes show its ends."""
    ended = sum(progress.counts.values()) - progress.counts.get("running", 0)
    points = [*progress.improvements, *((ended, value) for _, value in progress.improvements[-1:])]
    if len({x for x, _ in points}) < 2:
        return []
    first, values = points[0][0], [value for _, value in points]
    low, high = min(values), max(values)
    scale = Scale(low, high, is_log=0 < low < high / 10)
    columns = max(min(width - 12, 60), 20)  # 12 are for the labels
    lines = staircase(points, scale, (columns, height), unicode)
    labels = [rounded(high), *[""] * (height - 2), rounded(low)]
    begin, end = str(first), f"{ended} trials"
    return [
        Text(f"Best {progress.metric} so far{' (logarithmic)' if scale.is_log else ''}", style="bold"),
        *(Text(f"{label:>10} {line}", style="cyan") for label, line in zip(labels, lines, strict=True)),
        Text(f"{'':11}{begin}{end:>{columns - len(begin)}}", style="cyan"),
    ]
