from __future__ import annotations

import io

import pytest

from adamtune.analysis.ranking import rank
from adamtune.reports.console import console, show_best, show_hints, show_ranking
from adamtune.reports.text import table

from .records import ALL_SEARCHED, SEARCHED, mixed, study, trial

# ruff: noqa: E501 (a table of 120 columns)


def printed(width: int, searched: tuple[str, ...], top: int | None = None) -> str:
    out = console(file=io.StringIO())
    out.width = width
    with out.capture() as captured:
        show_ranking(out, rank(mixed(searched)), top)
    return captured.get()


def test_five_settings_at_80_columns() -> None:
    assert (
        printed(80, SEARCHED)
        == """\
digits-cnn: val_loss, lowest first

                                              weight_
rank trial    value     lr beta1  beta2   eps   decay steps seconds curve
   1     2  0.05610 0.0031  0.91 0.9987  1e-8   0.012   230    0.31 █▄▂▂▂▁▁▁
   2     6  0.05610 0.0031  0.91  0.999 0.001   0.012   230    0.31 █▄▂▂▂▁▁▁
   3     0   0.2100 2.5e-5  0.91 0.9987  1e-8   0.012   230    0.31 █▄▂▂▂▁▁▁
   -     1 diverged   0.09  0.91 0.9987  1e-8   0.012    24    0.31 █▄▂▂▂▁▁▁
   -     3   pruned 0.0031  0.91 0.9987  1e-8   0.012    46    0.31 █▄▂▂▂▁▁▁
   -     4   failed 0.0031  0.91 0.9987  1e-8   0.012   230    0.31
   -     5  running 0.0031  0.91 0.9987  1e-8   0.012   230    0.31

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running
"""
    )


def test_nine_settings_at_80_columns_are_folded() -> None:
    assert (
        printed(80, ALL_SEARCHED, top=2)
        == """\
digits-cnn: val_loss, lowest first

rank  trial    value  steps  seconds  curve
   1      2  0.05610    230     0.31  █▄▃▂▂▂▁▁▁▁
      optimizer=adamw lr=0.00308 beta1=0.91 beta2=0.99873 eps=1e-8
      weight_decay=0.0123 schedule=cosine warmup_fraction=0.05 final_fraction=0
   2      6  0.05610    230     0.31  █▄▃▂▂▂▁▁▁▁
      optimizer=adamw lr=0.00308 beta1=0.91 beta2=0.999 eps=0.001
      weight_decay=0.0123 schedule=cosine warmup_fraction=0.05 final_fraction=0

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running (5 not shown)
"""
    )


def test_nine_settings_at_120_columns() -> None:
    assert (
        printed(120, ALL_SEARCHED)
        == """\
digits-cnn: val_loss, lowest first

                                                        weight_           warmup_   final_
rank trial    value optimizer     lr beta1  beta2   eps   decay schedule fraction fraction steps seconds curve
   1     2  0.05610 adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31 █▄▂▂▂▁▁▁
   2     6  0.05610 adamw     0.0031  0.91  0.999 0.001   0.012 cosine       0.05        0   230    0.31 █▄▂▂▂▁▁▁
   3     0   0.2100 adamw     2.5e-5  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31 █▄▂▂▂▁▁▁
   -     1 diverged adamw       0.09  0.91 0.9987  1e-8   0.012 cosine       0.05        0    24    0.31 █▄▂▂▂▁▁▁
   -     3   pruned adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0    46    0.31 █▄▂▂▂▁▁▁
   -     4   failed adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31
   -     5  running adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running
"""
    )


@pytest.mark.parametrize("width", [20, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("searched", [SEARCHED, ALL_SEARCHED, ()])
def test_nothing_is_cut_and_no_line_is_too_long(width: int, searched: tuple[str, ...]) -> None:
    ranking = rank(mixed(searched))
    heading, lines = table(ranking, ranking.rows, width)
    assert len(lines) == len(ranking.rows)
    fixed = len("   1      2   0.05610    230     0.31  █▄▃▂▂▂▁▁▁▁")
    assert max(map(len, "\n".join([*heading, *lines]).split("\n"))) <= max(width, fixed)
    for line in lines:
        named = " ".join([*heading, line])
        assert all(part in named for name in ranking.searched for part in name.split("_"))
        assert ("cosine" in line) == ("schedule" in searched)


def test_several_seeds_show_their_spread() -> None:
    ranking = rank(study(trial(0, 0.2, seeds=[0.1, 0.2, 0.3]), trial(1, state="failed", seeds=[0.1])))
    heading, lines = table(ranking, ranking.rows, 120)
    assert heading[-1].split()[:4] == ["rank", "trial", "value", "sd"]
    assert lines[0].split()[:4] == ["1", "0", "0.2000", "0.10"]


def test_a_study_without_trials() -> None:
    out = console(file=io.StringIO())
    with out.capture() as captured:
        show_ranking(out, rank(study()), None)
        show_best(out, rank(study()), "")
    assert captured.get().endswith("0 complete\n\nNo trial is complete yet, so there is no best one.\n")


def test_best_and_hints() -> None:
    out = console(file=io.StringIO())
    code = "optimizer = [model]\n"  # square brackets are no markup
    with out.capture() as captured:
        show_best(out, rank(mixed()), code)
        show_hints(out, [("go on", "adamtune resume x"), ("all", "adamtune report x")])
    assert (
        captured.get()
        == """
Best: trial 2, val_loss 0.05610, val_accuracy 0.9860

optimizer = [model]

go on:  adamtune resume x
all:    adamtune report x
"""
    )


def test_control_codes_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    ranking = rank(mixed())
    for forced in (False, True):
        out = console(file=io.StringIO())
        if forced:
            monkeypatch.setattr(type(out), "is_terminal", property(lambda self: True))
            out = console(file=io.StringIO())
        with out.capture() as captured:
            show_ranking(out, ranking, None)
        assert ("\x1b[" in captured.get()) == forced
