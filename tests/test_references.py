"""Files and names of the code that texts name are there."""

from __future__ import annotations

import re
from pkgutil import resolve_name

from .test_project import ROOT, files, texts

CODE_FILE = re.compile(r"`+((?:\w+/)*\w+\.(?:py|c|h))(?::[^`]*)?`+")
CODE_NAME = re.compile(r"(?<![\w.])adamtune(?:\.[A-Za-z_]\w*)+")


def test_code_that_is_named_in_texts_is_there() -> None:
    """Files in backticks, and dotted names, in pages, docstrings and comments."""
    paths = {str(path.relative_to(ROOT)) for path in files()}
    missing = [
        (name, named)
        for name, text in texts().items()
        if name.endswith((".md", ".py", ".c", ".h")) and name != "CHANGELOG.md"
        for named in CODE_FILE.findall(text)
        if not any(path == named or path.endswith(f"/{named}") for path in paths)
    ]
    missing += [
        (name, named)
        for name, text in texts().items()
        if name.endswith((".md", ".py", ".c", ".h")) and not name.startswith("tests/")
        for named in CODE_NAME.findall(text)
        if not resolves(named)
    ]
    assert not missing


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one; names of files such as ``adamtune.db`` are."""
    if name.split(".")[1] == "db":
        return True
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True
