from __future__ import annotations

import io
from contextlib import ExitStack, suppress
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
