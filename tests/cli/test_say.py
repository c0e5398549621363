from __future__ import annotations

import sys

import pytest

from adamtune.cli.options import say


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("err", [True, False])
def test_a_paragraph_has_the_width_of_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool, err: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stderr if err else sys.stdout, "isatty", lambda: is_terminal)
    say("Better than the default: 0.1 against 0.2", err)
    lines = ["Better than the", "default: 0.1 against", "0.2"]
    printed = capsys.readouterr()
    assert printed[err] == ("\n" if is_terminal else " ").join(lines) + "\n"
    assert printed[not err] == ""
