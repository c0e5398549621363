from __future__ import annotations

import io

import pytest

from adamtune.analysis.ranking import Ranking, rank
from adamtune.reports.console import console, show_best, show_hints, show_ranking
from adamtune.reports.table import table

from .records import ALL_SEARCHED, SEARCHED, mixed, study, trial

# ruff: noqa: E501 (a table of 120 columns)


def printed(width: int, searched: tuple[str, ...], top: int | None = None) -> str:
    out = console(file=io.StringIO())
    out.width = width
    with out.capture() as captured:
        show_ranking(out, rank(mixed(searched)), top)
    return captured.get()


def ranking_of_eight() -> Ranking:
    """Twelve trials that differ in each of eight searched settings."""
    trials = [
        trial(
            number,
            0.1 + number / 100,
            searched=ALL_SEARCHED[:8],
            optimizer=("adamw", "nadam")[number % 2],
            lr=0.00103 * 1.7**number,
            beta1=0.91 - number / 100,
            beta2=0.9987 - number / 1000,
            eps=10.0 ** (-8 + number % 3),
            weight_decay=0.0123 * (number + 1),
            schedule=("cosine", "constant")[number % 2],
            warmup_fraction=0.053 + number / 100,
            seconds=0.11 + number,
            steps=230 - number,
        )
        for number in range(12)
    ]
    return rank(study(*trials))


def test_five_settings_at_80_columns() -> None:
    assert (
        printed(80, SEARCHED)
        == """\
digits-cnn: val_loss, lowest first

                                              weight_
rank trial    value     lr beta1  beta2   eps   decay steps seconds curve
   1     2  0.05610 0.0031  0.91 0.9987  1e-8   0.012   230    0.31 ▄▃▂▁▁▁▁▁
   2     6  0.05610 0.0031  0.91  0.999 0.001   0.012   230    0.31 ▄▃▂▁▁▁▁▁
   3     0   0.2100 2.5e-5  0.91 0.9987  1e-8   0.012   230    0.31 ▅▃▂▂▂▂▂▂
   -     1 diverged   0.09  0.91 0.9987  1e-8   0.012    24    0.31 █▆▅▅▅▅▅▅
   -     3   pruned 0.0031  0.91 0.9987  1e-8   0.012    46    0.31 ▅▃▂▂▂▂▂▂
   -     4   failed 0.0031  0.91 0.9987  1e-8   0.012   230    0.31
   -     5  running 0.0031  0.91 0.9987  1e-8   0.012   230    0.31
curve: val_loss from ▁ 0.0561 to █ 1.9

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running
"""
    )


def test_nine_settings_at_80_columns_list_what_is_constant_once() -> None:
    assert (
        printed(80, ALL_SEARCHED, top=4)
        == """\
digits-cnn: val_loss, lowest first

                                                          weight_
rank trial    value optimizer      lr beta1   beta2   eps   decay steps curve
   1     2  0.05610 adamw     0.00308  0.91 0.99873  1e-8  0.0123   230 ▄▂▁▁▁▁
   2     6  0.05610 adamw     0.00308  0.91   0.999 0.001  0.0123   230 ▄▂▁▁▁▁
   3     0   0.2100 adamw      2.5e-5  0.91 0.99873  1e-8  0.0123   230 ▅▂▂▂▂▂
   -     1 diverged adamw        0.09  0.91 0.99873  1e-8  0.0123    24 █▅▅▅▅▅
every row: schedule=cosine warmup_fraction=0.05 final_fraction=0 seconds=0.31
curve: val_loss from ▁ 0.0561 to █ 1.9

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running (3 not shown)
"""
    )


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            80,
            """\
                                                      weight_
rank trial  value optimizer      lr beta1  beta2  eps   decay schedule curve
   1     0 0.1000 adamw     0.00103  0.91 0.9987 1e-8  0.0123 cosine   █▄▂▂▁▁
     warmup_fraction=0.053
""",
        ),
        (
            60,
            """\
rank trial  value optimizer      lr beta1  beta2  eps curve
   1     0 0.1000 adamw     0.00103  0.91 0.9987 1e-8 █▄▂▂▁▁
     weight_decay=0.0123 schedule=cosine
     warmup_fraction=0.053
""",
        ),
    ],
)
def test_eight_varied_settings_put_the_last_below_the_row(width: int, expected: str) -> None:
    ranking = ranking_of_eight()
    heading, rows, common, _ = table(ranking, ranking.rows, width)
    assert "\n".join([*heading, rows[0], *common, ""]) == expected


def test_the_least_important_settings_leave_the_table_first() -> None:
    """Only beta1 and weight_decay matter, which the catalogs list before and after beta2 and eps."""
    trials = [
        trial(
            number,
            (number % 6) + number / 10,
            lr=0.001 + (7 * number % 40) / 1e4,
            beta1=0.5 + (number % 6) / 20,
            beta2=0.9 + (11 * number % 40) / 1e3,
            eps=(1 + 13 * number % 40) / 1e9,
            weight_decay=number / 100,
        )
        for number in range(40)
    ]
    ranking = rank(study(*trials))
    assert [each.setting for each in ranking.importance][:2] == ["weight_decay", "beta1"]
    heading, rows, *_ = table(ranking, ranking.rows, 50)
    assert heading == [
        "                               weight_",
        "rank trial  value     lr beta1   decay curve",
    ]
    assert "beta2=" in rows[1]
    assert "eps=" in rows[1]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", ["lr", "value"])
def test_lr_and_the_value_have_their_columns_at_every_width(width: int, name: str) -> None:
    """A reader runs down the column: one cell a row, all at one place, in order of rank."""
    ranking = ranking_of_eight()
    heading, rows, *_ = table(ranking, ranking.rows, width)
    end = heading[-1].index(f" {name} ") + 1 + len(name)
    found = [float(row[:end].split()[-1]) for row in rows]
    trials = [row.trial for row in ranking.rows]
    expected = [trial.settings["lr"] if name == "lr" else trial.final_value for trial in trials]
    assert found == pytest.approx(expected, rel=0.05)


def test_nine_settings_at_120_columns() -> None:
    assert (
        printed(120, ALL_SEARCHED)
        == """\
digits-cnn: val_loss, lowest first

                                                        weight_           warmup_   final_
rank trial    value optimizer     lr beta1  beta2   eps   decay schedule fraction fraction steps seconds curve
   1     2  0.05610 adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31 ▄▃▂▁▁▁▁▁
   2     6  0.05610 adamw     0.0031  0.91  0.999 0.001   0.012 cosine       0.05        0   230    0.31 ▄▃▂▁▁▁▁▁
   3     0   0.2100 adamw     2.5e-5  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31 ▅▃▂▂▂▂▂▂
   -     1 diverged adamw       0.09  0.91 0.9987  1e-8   0.012 cosine       0.05        0    24    0.31 █▆▅▅▅▅▅▅
   -     3   pruned adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0    46    0.31 ▅▃▂▂▂▂▂▂
   -     4   failed adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31
   -     5  running adamw     0.0031  0.91 0.9987  1e-8   0.012 cosine       0.05        0   230    0.31
curve: val_loss from ▁ 0.0561 to █ 1.9

3 complete, 1 pruned, 1 diverged, 1 failed, 1 running
"""
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("searched", [SEARCHED, ALL_SEARCHED, ()])
def test_nothing_is_cut_and_no_line_is_too_long(width: int, searched: tuple[str, ...]) -> None:
    ranking = rank(mixed(searched))
    heading, lines, common, scale = table(ranking, ranking.rows, width)
    assert len(lines) == len(ranking.rows)
    fixed = len("   1     2 diverged 0.00308 █▃▂▂▁▁")
    assert max(map(len, "\n".join([*heading, *lines, *common]).split("\n"))) <= max(width, fixed)
    assert scale == "curve: val_loss from ▁ 0.0561 to █ 1.9"
    for line in lines:
        named = " ".join([*heading, line, *common])
        assert all(part in named for name in ranking.searched for part in name.split("_"))
        assert ("cosine" in named) == ("schedule" in searched)


def test_several_seeds_show_their_spread() -> None:
    ranking = rank(study(trial(0, 0.2, seeds=[0.1, 0.2, 0.3]), trial(1, state="failed", seeds=[0.1])))
    heading, lines, *_ = table(ranking, ranking.rows, 120)
    assert heading[-1].split()[:4] == ["rank", "trial", "value", "sd"]
    assert lines[0].split()[:4] == ["1", "0", "0.2000", "0.10"]


def test_a_study_without_trials() -> None:
    out = console(file=io.StringIO())
    with out.capture() as captured:
        show_ranking(out, rank(study()), None)
        show_best(out, rank(study()), "")
    assert captured.get().endswith("0 complete\n\nNo trial is complete yet.\n")


def test_best_and_hints() -> None:
    out = console(file=io.StringIO())
    code = "optimizer = [model]\n"  # square brackets are no markup
    with out.capture() as captured:
        show_best(out, rank(mixed()), code)
        show_hints(out, [("more", "adamtune resume x"), ("all", "adamtune report x")])
    assert (
        captured.get()
        == """
Best: trial 2, val_loss 0.05610, val_accuracy 0.9860

optimizer = [model]

more:  adamtune resume x
all:   adamtune report x
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
