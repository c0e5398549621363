from __future__ import annotations

import io
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

from adamtune.reports.console import console
from adamtune.reports.live import progress_view, view
from adamtune.search.progress import Progress

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
    best=trial(3, 0.0561, intermediate=dict(CURVE)),
    last_batch=(trial(15, 0.2),),
)


def seen(progress: Progress, width: int = 80) -> str:
    out = Console(file=io.StringIO(), width=width, highlight=False)
    with out.capture() as captured:
        out.print(view(progress, width))
    return captured.get()


def test_plain_lines_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    with progress_view(console(file=file)) as observe:
        observe(START)
        observe(LATER)
        observe(replace(LATER, last_batch=()))
        observe(replace(LATER, notes=(*LATER.notes, "on one core"), best=None))
    assert file.getvalue().splitlines() == [
        "engine: sequential",
        "16/64 trials, 14 complete, 1 pruned, 1 diverged, 8 running; best val_loss 0.05610 (trial 3);"
        " 16.0 trials/min, 3:00 left",
        "on one core",
        "16/64 trials, 14 complete, 1 pruned, 1 diverged, 8 running; 16.0 trials/min, 3:00 left",
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
    lines = [line.rstrip() for line in seen(START).splitlines()]
    assert lines[0].startswith("digits-cnn ")
    assert lines[0].endswith(" 0/64")
    assert lines[1:] == ["0 complete, 8 running; 0:00 elapsed", "engine: sequential"]


def test_view_of_the_best_so_far() -> None:
    lines = [line.rstrip() for line in seen(LATER, 120).splitlines()]
    assert lines[1:5] == [
        "14 complete, 1 pruned, 1 diverged, 8 running; 0:30 elapsed; 16.0 trials/min, 3:00 left",
        "engine: sequential",
        "",
        "Best: trial 3, val_loss 0.05610",
    ]
    assert "beta2=0.99873" in lines[5]
    assert [line[:10].strip() for line in lines[-6:-1]] == ["1.000", "", "", "", "0.1000"]
    assert lines[-1].split() == ["step", "23", "230"]


def test_view_fits_narrow_terminals() -> None:
    for width in (40, 80, 120):
        assert max(map(len, seen(LATER, width).splitlines())) <= width


def test_display_on_a_terminal_ends_clean() -> None:
    file = io.StringIO()
    out = Console(file=file, force_terminal=True, width=80, highlight=False)
    with progress_view(out) as observe:
        observe(LATER)
        observe(LATER)
    text = file.getvalue()
    assert text.count("Best: trial 3") == 2  # the first frame, and the one that ends the display
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor comes back


ON_A_TERMINAL = """
import atexit, os, signal, subprocess, sys, termios, time
from adamtune.reports.console import console
from adamtune.reports.live import progress_view

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
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
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
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
    first, *_ = seen(progress, width).splitlines()
    assert first.startswith("a-rather-lon")
    assert first.rstrip().endswith(" 64/64")
    assert first.count("━") >= 10
