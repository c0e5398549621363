"""Commands and their placeholders, reports among other output, and logs of bounded size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from adamtune.engines.workers.log import MOST_BYTES, Log
from adamtune.engines.workers.reports import LONGEST, Report, ReportReader, read_report
from adamtune.tasks.program import command_values, fill, placeholders

VALUES = {"lr": 1e-5, "name": "a b; rm -rf $HOME", "layers": [64, 32], "flag": True, "nothing": None, "n": 3}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("python train.py --lr {lr}", ["python", "train.py", "--lr", "1e-05"]),
        ("run --name={name} 'a b'", ["run", "--name=a b; rm -rf $HOME", "a b"]),
        ("run {layers} {flag} {nothing} {n}{n}", ["run", "[64, 32]", "true", "null", "33"]),
        ("run '{{lr}}' '{\"a\": {n}}'", ["run", "{lr}", '{"a": 3}']),
        ("run $HOME `id` | cat > x", ["run", "$HOME", "`id`", "|", "cat", ">", "x"]),
        (r"run a\ b \"", ["run", "a b", '"']),
    ],
)
def test_a_value_is_one_argument(command: str, arguments: list[str]) -> None:
    assert fill(command, VALUES) == arguments


def test_placeholders_are_names_in_braces() -> None:
    assert placeholders('{lr} {{no}} {"a": 1} {} {lr} {one_minus_beta1}') == ["lr", "one_minus_beta1"]


def test_a_command_gets_both_forms_of_a_decay() -> None:
    values = command_values({"optimizer": "adamw", "beta1": 0.75, "beta2": 0.5, "width": 8}, 7, 2)
    assert (values["beta1"], values["one_minus_beta1"], values["width"]) == (0.75, 0.25, 8)
    assert (values["seed"], values["trial"]) == (7, 2)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ('{"step": 3, "val_loss": 0.5}', Report(3, {"val_loss": 0.5})),
        ('{"step": 3.0, "val_loss": 1, "other": "x"}', Report(3, {"val_loss": 1.0})),
        ('{"step": 3, "val_loss": Infinity}', Report(3, {"val_loss": math.inf})),
        ('{"step": 0, "val_loss": 0.5}', None),
        ('{"step": 1.5, "val_loss": 0.5}', None),
        ('{"step": true, "val_loss": 0.5}', None),
        ('{"step": "3", "val_loss": 0.5}', None),
        ('{"step": NaN, "val_loss": 0.5}', None),
        ('{"step": 1e999, "val_loss": 0.5}', None),
        ('{"step": 3}', None),
        ('{"step": 3, "val_loss": [1]}', None),
        ("[1, 2]", None),
        ("{", None),
        ("[" * 100_000, None),
    ],
)
def test_a_report_is_a_line_of_json(line: str, report: Report | None) -> None:
    assert read_report(line.encode(), ["val_loss"]) == report


def test_null_is_nan() -> None:
    found = read_report(b'{"step": 1, "val_loss": null}', ["val_loss"])
    assert found is not None
    assert math.isnan(found.metrics["val_loss"])


@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
def test_reports_are_found_in_pieces_of_any_size(size: int) -> None:
    report = json.dumps({"step": 1, "val_loss": 2})
    later = report.replace("1", "2")
    text = f"before {{\n{report}\n{'x' * 3 * LONGEST}{report}\n\n{later}".encode()
    written: list[bytes] = []
    reader = ReportReader(["val_loss"], written.append)
    found = [each for start in range(0, len(text), size) for each in reader.feed(text[start : start + size])]
    found += reader.finish()
    assert [each.step for each in found] == [1, 2]
    assert b"".join(written) == f"before {{\n{'x' * 3 * LONGEST}{report}\n\n".encode()


def test_a_log_keeps_its_first_and_last_bytes(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    lines = [f"{number:09}\n".encode() for number in range(10**6)]
    for start in range(0, len(lines), 1000):
        log.write(b"".join(lines[start : start + 1000]))
    content = log.path.read_bytes()
    assert len(content) <= 3 * MOST_BYTES + 100
    first, middle, last = content.partition(b"\n... ")
    assert first == b"".join(lines)[:MOST_BYTES]
    left_out = int(middle and last.split()[0])
    kept = last.partition(b"...\n")[2]
    assert b"".join(lines).endswith(kept)
    assert len(first) + left_out + len(kept) == 10**7
    assert log.last_lines(2) == ["000999998", "000999999"]


def test_the_last_lines_of_a_log_are_text(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    assert log.last_lines(3) == []
    log.write(b"\n\x1b[31mred\x1b[0m \xff\r\n\n   \nend")
    assert log.last_lines(3) == [" [31mred [0m \ufffd", "end"]
