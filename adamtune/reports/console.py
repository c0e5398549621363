"""Prints a study with Rich: in colour on a terminal, as plain text elsewhere."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from adamtune.analysis.advice import advise
from adamtune.analysis.ranking import BASELINE, ORDER, Ranking, Row
from adamtune.reports.scatter import scatter
from adamtune.reports.table import table
from adamtune.reports.text import aligned, paragraph, rounded, setting
from adamtune.storage.records import State, TrialRecord, counted, shown_state

if TYPE_CHECKING:
    from adamtune.analysis.ablations import Effect

LOG_LINES = 5
"""Lines of the log of a trial that failed."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raises the error; Rich would end the program."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(stderr: bool = False, file: IO[str] | None = None) -> Console:
    """A console that prints text unchanged: no markup, no highlighting, no cut lines."""
    # A name such as [a] is not markup, and a cut line of code could not be pasted.
    return _Console(stderr=stderr, file=file, markup=False, highlight=False, soft_wrap=True, emoji=False)


def is_unicode(out: Console) -> bool:
    """Whether a console can show blocks and braille."""
    return out.encoding.startswith("utf")


@contextmanager
def without_echo() -> Iterator[None]:
    """Turns off the echo of keys on the terminal of stdin, which would move the lines that are redrawn.

    Echo is restored at the end, also where SIGTERM or SIGHUP ends the process. In another thread than the
    main one it stays on, because that could not see to it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if os.name != "posix" or not is_main or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = termios.tcgetattr(terminal)
    # Place 3 has the local modes.
    silent[3] &= ~termios.ECHO

    def set_modes(modes: list[Any]) -> None:
        with suppress(OSError, termios.error):  # closed, or not the terminal of this session
            # In the background the call would stop the process, and the terminal belongs to another.
            if os.tcgetpgrp(terminal) == os.getpgrp():
                termios.tcsetattr(terminal, termios.TCSADRAIN, modes)

    with _endings():
        set_modes(silent)
        # A shell turns echo on at Ctrl-Z.
        previous = signal.signal(signal.SIGCONT, lambda *_: set_modes(silent))
        try:
            yield
        finally:
            signal.signal(signal.SIGCONT, previous)
            set_modes(before)


@contextmanager
def _endings() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise SystemExit where they would end the process without any cleanup."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # A handler that the program has set, such as the one of a search, is left as it is.
    deadly = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) == signal.SIG_DFL]
    for number in deadly:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


def show_ranking(out: Console, ranking: Ranking, top: int | None) -> None:
    """Prints the ranked table of the first ``top`` trials and the counts."""
    rows = ranking.rows[:top]
    study = ranking.study
    order = "lowest" if study.direction == "minimize" else "highest"
    out.print(Text(f"{study.name}: {study.metric}, {order} first", style="bold"), end="\n\n")
    shown = [*rows, *([ranking.baseline] if ranking.baseline else [])]
    found = table(ranking, shown, out.width, is_unicode(out))
    out.print(Text("\n".join(found.heading), style="bold cyan"))
    out.print(Text("\n").join(map(styled, shown, found.rows)))
    for line in found.common:
        out.print(line)
    if found.scale:
        out.print(found.scale, style="dim")
    out.print()
    hidden = len(ranking.rows) - len(rows)
    out.print(counts(ranking.counts, study.in_use) + (f" ({hidden} not shown)" if hidden else ""))


def styled(row: Row, line: str) -> Text:
    """A row of the table in the style of its rank."""
    return Text(line, style="bold green" if row.rank == 1 else "" if row.rank else "dim")


def counts(found: Mapping[State, int], in_use: bool = True) -> str:
    """Such as ``60 complete, 3 pruned``; a state other than complete is left out if it has no trial.

    Args:
        found: the number of trials in each state.
        in_use: whether a process trains the study; otherwise running trials are shown as unfinished.
    """
    shown = {state: n for state, n in counted(found).items() if n or state == "complete"}
    return ", ".join(f"{n} {shown_state(state, in_use)}" for state, n in shown.items())


def show_verdict(out: Console, ranking: Ranking) -> None:
    """Prints whether the best trial is better than the baseline."""
    if ranking.verdict is not None:
        style = "bold" if ranking.verdict.outcome != "not_confirmed" else "dim"
        out.print("\n" + "\n".join(paragraph(ranking.verdict.sentence, out.width)), style=style)


def show_effects(out: Console, ranking: Ranking) -> None:
    """Prints what each setting of a better trial is worth, and what to do next."""
    effects = ranking.effects
    if effects:
        out.print(f"\nWith one setting put back ({effects[0].n} seeds):", style="bold")
        cells = [[each.setting, *_effect(each)] for each in effects]
        for line in aligned(cells, "  "):
            out.print(line)
    advice = advise(ranking)
    if advice:
        out.print()
    for each in advice:
        out.print("- " + "\n  ".join(paragraph(each.text, out.width - 2)))


def show_importance(out: Console, ranking: Ranking) -> None:
    """Prints how much of the order of the trials each searched setting explains, beside noise."""
    out.print("\nImportance, of all trials:", style="bold")
    if not ranking.importance:
        out.print("  too few trials to say")
        return
    rows = [
        (each.setting, f"{each.share:.2f}", f"noise gives up to {each.noise:.2f}")
        for each in ranking.importance
    ]
    for line in aligned(rows, "  "):
        out.print(line)


def show_scatter(out: Console, ranking: Ranking) -> None:
    """Prints the value against lr, or against the most important setting, with enough trials."""
    for place, line in enumerate(scatter(ranking, out.width, is_unicode(out))):
        out.print(Text("" if place else "\n") + line)


def _effect(effect: Effect) -> tuple[str, str]:
    """The change of the metric with its interval, and whether chance explains it."""
    if effect.difference is None or effect.interval is None or effect.p is None:
        return f"{effect.failures} trainings diverged", ""
    low, high = effect.interval
    change = f"{effect.difference:+.2g} [{low:+.2g}, {high:+.2g}]"
    return change, "" if effect.p <= 0.05 else "no difference shown"


def show_best(out: Console, ranking: Ranking, code: str) -> None:
    """Prints the metrics of the recommended trial and ``code``, which builds its optimizer and scheduler."""
    best = ranking.recommended
    if best is None:
        out.print("\nNo trial is complete yet.")
        return
    metrics = "".join(f", {name} {rounded(value)}" for name, value in best.metrics.items())
    title = "Best" if best is ranking.best else "Recommended"
    which = "the baseline" if best.number == BASELINE else f"trial {best.number}"
    out.print(f"\n{title}: {which}{metrics}", style="bold")
    others = [name for name in ranking.searched if name in best.settings and name not in ORDER]
    if others:
        out.print("task: " + ", ".join(f"{name} {setting(name)(best.settings[name])}" for name in others))
    if code:
        out.print(f"\n{code}", style="green", end="")


def show_failures(out: Console, trials: Sequence[TrialRecord], most: int = 3) -> None:
    """Prints why the first ``most`` of the trials that failed did, with the last lines of their logs."""
    failed = [each for each in trials if each.failure]
    for each in failed[:most]:
        reason, *lines = (each.failure or "").splitlines()
        out.print(f"\nTrial {each.number} failed: {reason}", style="bold")
        for line in lines[-LOG_LINES:]:
            out.print(f"  {line}", style="dim")
    if len(failed) > most:
        out.print(f"\nTrials that failed: {len(failed)}; those not shown are in the JSON report.")


def show_hints(out: Console, hints: Sequence[tuple[str, str]]) -> None:
    """Prints (purpose, command) pairs, one a line, the commands aligned."""
    width = max(len(purpose) for purpose, _ in hints)
    out.print()
    for purpose, command in hints:
        out.print(f"{purpose + ':':{width + 1}}  {command}")
