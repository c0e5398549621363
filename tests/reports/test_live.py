from __future__ import annotations

import io
import itertools
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from adamtune.reports.console import console
from adamtune.reports.live import progress_view, view
from adamtune.search.progress import Progress, Stage

from .records import trial

CURVE = tuple((23 * step, 1 / step) for step in range(1, 11))
START = Progress(
    "digits-cnn", "val_loss", "minimize", 64, {"running": 8}, 0.5, 0, notes=("engine: sequential",)
)
LATER = replace(
    START,
    counts={"complete": 14, "pruned": 1, "diverged": 1, "running": 8},
    elapsed=30.0,
    ended=8,
    top=(
        trial(3, 0.0561, intermediate=dict(CURVE)),
        *(trial(7 + number, 0.06 + number / 100, lr=0.001 * number) for number in range(1, 5)),
    ),
    improvements=((2, 0.9), (5, 0.4), (9, 0.0561)),
    last_batch=(trial(15, 0.2),),
)


JUDGING = replace(
    LATER,
    counts={"complete": 60, "pruned": 4},
    elapsed=65.0,
    last_batch=(),
    stage=Stage("confirmation, judging", 10, 40),
)


def seen(progress: Progress, width: int = 80, height: int = 23, unicode: bool = True) -> list[str]:
    return [line.plain.rstrip() for line in view(progress, width, height, unicode)]


def test_plain_lines_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    with progress_view(console(file=file)) as observe:
        observe(START)
        observe(LATER)
        observe(replace(LATER, last_batch=()))
        observe(replace(LATER, notes=(*LATER.notes, "on one core"), top=()))
        observe(JUDGING)
        observe(JUDGING)
    assert file.getvalue().splitlines() == [
        "engine: sequential",
        "16/64 trials, 14 complete, 1 pruned, 1 diverged, 8 running; best val_loss 0.05610 (trial 3);"
        " 16.0 trials/min, 3:00 left",
        "on one core",
        "16/64 trials, 14 complete, 1 pruned, 1 diverged, 8 running; 16.0 trials/min, 3:00 left",
        "confirmation, judging: 10 of at most 40 trainings",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_lines_that_cannot_be_written_end_nothing() -> None:
    told = []
    with suppress(OSError), open("/dev/full", "w", buffering=1) as full:
        observe = ExitStack().enter_context(progress_view(console(file=full)))
        for progress in (START, LATER):
            observe(progress)
            told.append(progress)
    assert told == [START, LATER]


def test_view_before_anything_ended() -> None:
    first, *others = seen(START)
    assert first == f"digits-cnn  {'─' * 62}  0/64"
    assert others == ["Search: 0 complete, 8 running", "0:00 elapsed", "engine: sequential"]


def test_view_of_the_best_trials_and_the_best_so_far() -> None:
    assert seen(LATER) == [
        "digits-cnn  ━━━━━━━━━━━━━━━──────────────────────────────────────────────  16/64",
        "Search: 14 complete, 1 pruned, 1 diverged, 8 running",
        "0:30 elapsed; 16.0 trials/min, 3:00 left",
        "engine: sequential",
        "",
        "                                                     weight_",
        "rank  trial    value       lr  beta1    beta2   eps    decay  curve",
        "   1      3  0.05610  0.00308   0.91  0.99873  1e-8   0.0123  ██▅▄▃▃▂▂▂▁",
        "   2      8  0.07000    0.001   0.91  0.99873  1e-8   0.0123  ██▅▃▃▂▂▁▁▁",
        "   3      9  0.08000    0.002   0.91  0.99873  1e-8   0.0123  ██▅▄▃▂▂▂▁▁",
        "   4     10  0.09000    0.003   0.91  0.99873  1e-8   0.0123  ██▅▄▃▂▂▂▂▁",
        "   5     11   0.1000    0.004   0.91  0.99873  1e-8   0.0123  ██▅▄▃▃▂▂▂▁",
        "",
        "Best val_loss so far (logarithmic)",
        "    0.9000 ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⡇",
        "                        ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⡇",
        "                                         ⡇",
        "   0.05610                               ⣇⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀",
        "           2                                                  16 trials",
    ]


def test_view_of_a_confirmation_has_its_stage_and_its_trainings() -> None:
    first, *others = seen(JUDGING, 100)[:3]
    assert first.startswith("digits-cnn  ━━━━━━━━━━━━━━━━━━━━─────")
    assert first.endswith(" 10/40")
    assert others == ["Confirmation, judging: 10 of at most 40 trainings", "1:05 elapsed"]


def test_a_low_terminal_shows_the_best_trial_alone() -> None:
    assert seen(LATER, 80, 9)[4:] == [
        "",
        "Best: trial 3, val_loss 0.05610",
        "optimizer=adamw  lr=0.00308  beta1=0.91  beta2=0.99873  eps=1e-8",
        "weight_decay=0.0123  amsgrad=false  schedule=cosine  warmup_fraction=0.05",
        "final_fraction=0",
    ]
    assert len(seen(LATER, 80, 3)) == 3


def test_view_without_unicode() -> None:
    lines = seen(LATER, unicode=False)
    assert "".join(lines).isascii()
    assert lines[0].startswith("digits-cnn  ===============---")
    assert lines[-2].endswith("*" * 30)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("height", [4, 9, 23, 60])
def test_view_fits_the_terminal(width: int, height: int) -> None:
    lines = seen(LATER, width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


@pytest.mark.parametrize("width", [100, 80])
def test_lines_that_a_narrower_terminal_wrapped_are_erased(width: int) -> None:
    file = io.StringIO()
    out = Console(file=file, force_terminal=True, width=100, height=30, highlight=False)
    with progress_view(out) as observe:
        observe(LATER)
        rows = sum(-(-len(line) // width) or 1 for line in seen(LATER, 100))
        file.truncate(0)
        out.width = width
    up = file.getvalue().partition("digits-cnn")[0].count("\x1b[1A")
    assert up == rows - 1


def test_display_on_a_terminal_ends_clean() -> None:
    file = io.StringIO()
    out = Console(file=file, force_terminal=True, width=80, highlight=False)
    with progress_view(out) as observe:
        observe(LATER)
        observe(LATER)
    text = file.getvalue()
    assert text.count("so far") == 2  # the first frame, and the one that ends the display
    assert text.rpartition("trials")[2].count("\x1b[2K") == len(seen(LATER))  # all of it is erased
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back


ON_A_TERMINAL = """
import atexit, os, signal, subprocess, sys, termios, time
from adamtune.reports.console import console
from adamtune.reports.live import progress_view

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script it is ignored
os.open(os.ttyname(0), os.O_RDWR)  # makes it the controlling terminal of this session
def print_echo():
    print("echo", bool(termios.tcgetattr(0)[3] & termios.ECHO), flush=True)
atexit.register(print_echo)
"""
BODY = """
with progress_view(console(stderr=True)):
    print_echo()
    print("ready", flush=True)
    sys.stdin.readline()
"""
IN_THE_BACKGROUND = """
subprocess.run([sys.executable, "-c", sys.argv[1]], process_group=0, timeout=30, check=True)
print("ready", flush=True)
"""


@contextmanager
def terminal_session(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A Python process in a session of its own on a new terminal, and the terminal's other end."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", *arguments], stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: str = "") -> str:
    """What appears on a terminal until ``text`` is there, or the last process has left it."""
    shown = ""
    with suppress(OSError):
        while not text or text not in shown:
            shown += os.read(terminal, 1024).decode()
    return shown


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_keys_are_not_shown_while_it_is_live(number: signal.Signals | None) -> None:
    with terminal_session(ON_A_TERMINAL + BODY) as (process, terminal):
        assert "echo False" in read_until(terminal, "ready")
        os.write(terminal, b"typed")
        if number is None:
            os.write(terminal, b"\n")
        else:
            process.send_signal(number)
        shown = read_until(terminal)
        assert "echo True" in shown
        assert "typed" not in shown
        assert process.wait(10) in (0, 1, -signal.SIGINT, 128 + (number or 0))


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_search_that_is_continued_after_ctrl_z_shows_no_keys() -> None:
    """Shells turn echo on when a job stops."""
    with terminal_session(ON_A_TERMINAL + BODY) as (process, terminal):
        read_until(terminal, "ready")
        modes = termios.tcgetattr(terminal)
        modes[3] |= termios.ECHO
        termios.tcsetattr(terminal, termios.TCSANOW, modes)
        deadline = time.monotonic() + 10
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            # Again and again: Python handles a signal that comes just before it waits for a line after that.
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            assert time.monotonic() < deadline


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_search_in_the_background_leaves_the_terminal_alone() -> None:
    """To set the modes of a terminal stops a process that is not in its foreground."""
    body = BODY.replace("print_echo()", "").replace("sys.stdin.readline()", "")
    imports = ON_A_TERMINAL.partition("os.open")[0]
    with terminal_session(ON_A_TERMINAL + IN_THE_BACKGROUND, imports + body) as (process, terminal):
        read_until(terminal, "ready")
        assert "echo True" in read_until(terminal)
        assert process.wait(10) == 0


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_long_name_leaves_room_for_the_bar_and_the_count(width: int) -> None:
    progress = replace(LATER, study="a-rather-long-name" * 8, counts={"complete": 64})
    first, *_ = seen(progress, width)
    assert first.startswith("a-rather-lon")
    assert first.endswith(" 64/64")
    assert first.count("━") >= 10


def test_drawing_takes_one_percent_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of a clock that each reading moves by 1 ms, and each frame by 5 ms."""
    now, frames = itertools.count(), 0

    def read() -> float:
        return next(now) / 1000 + frames * 0.005

    def draw(*arguments: object) -> list[Text]:
        nonlocal frames
        frames += 1
        return [Text("frame")]

    monkeypatch.setattr("adamtune.reports.live.time.monotonic", read)
    monkeypatch.setattr("adamtune.reports.live.view", draw)
    with progress_view(Console(file=io.StringIO(), force_terminal=True)) as observe:
        while read() < 10:
            observe(LATER)
    assert frames * 0.006 / 10 == pytest.approx(0.01, rel=0.2)
