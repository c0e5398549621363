from __future__ import annotations

from benchmarks.tables import machine, median_ratio, table


def test_a_table_is_aligned_markdown() -> None:
    rows = [("mlp", 64, 1234.5, None), ("transformer", 8, 0.01234, 2.0)]
    assert table(["task", "trials", "µs", "ratio"], rows).splitlines() == [
        "| task        | trials |     µs | ratio |",
        "| ----------- | -----: | -----: | ----: |",
        "| mlp         |     64 |   1234 |     - |",
        "| transformer |      8 | 0.0123 |     2 |",
    ]


def test_the_median_is_that_of_ratios_and_not_the_ratio_of_medians() -> None:
    assert median_ratio([1.0, 10.0, 100.0], [1.0, 2.0, 50.0]) == 2.0
    assert median_ratio([4.0, 6.0], [1.0, 1.0]) == 5.0


def test_the_machine_is_named() -> None:
    assert "cores of" in machine()
    assert "torch" in machine()
