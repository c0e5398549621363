"""YAML text to plain values with their places.

Plain values are those of JSON. The syntax is YAML with these differences: a number is decimal (``1e-5`` is
one; ``010``, ``1_000`` and ``1:30`` are text), only ``true`` and ``false`` are booleans (``yes``, ``no``,
``on`` and ``off`` are text, so that a key may take such a word), a date is text, and a key given twice is a
problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from stat import S_ISFIFO
from typing import Any

import yaml

from adamtune.config.numbers import DECIMAL, NumberLiteral, read_number
from adamtune.config.problems import KeyPath, Mark, Problems, printable, show
from adamtune.errors import StudyFileError

TAG = "tag:yaml.org,2002:"
SPECIAL_FLOAT = r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
MOST_VALUES = 10_000
"""The most values of a study file: aliases of aliases would fill the memory otherwise."""

MOST_BYTES = 1_000_000
"""The most bytes of a study file: a device such as /dev/zero never ends."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with this module's numbers and booleans."""

    yaml_implicit_resolvers: dict[str, object] = {}  # noqa: RUF012  PyYAML's own way to have none inherited


for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", f"{DECIMAL}|{SPECIAL_FLOAT}", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def read_text(path: Path, kind: str = "study file", pattern: str = "*.y*ml") -> str:
    """The text of a study file, or of another ``kind`` of file whose names fit ``pattern``.

    Raises:
        StudyFileError: there is no such file, it cannot be read, or it is not UTF-8.
    """
    name = printable(str(path))
    try:
        data = _read_bytes(path)
    except FileNotFoundError:
        close = get_close_matches(path.name, [each.name for each in path.parent.glob(pattern)], n=1)
        near = f"did you mean {printable(str(path.with_name(close[0])))}?" if close else ""
        raise StudyFileError([f"{name}: no such file; {near or f'give the path of a {kind}'}"]) from None
    except (OSError, ValueError) as error:  # ValueError: such as a null character in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudyFileError([f"{name}: cannot be read: {reason}; give a {kind}"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"{data[error.start]:#04x}"
        raise StudyFileError(
            [f"{name}:{line}: not UTF-8: found byte {byte}; save the file as UTF-8"]
        ) from None


def _read_bytes(path: Path) -> bytes:
    # A named pipe that nobody writes to would be waited for without end; /dev/fd/63 is a shell's <(command).
    if S_ISFIFO(path.stat().st_mode) and not path.is_relative_to("/dev"):
        raise ValueError("it is a named pipe")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES} bytes")
    return data


def read_yaml(text: str, problems: Problems) -> object:
    """The plain value of a YAML text.

    Args:
        text: the YAML text.
        problems: receives the places of all values, and the problems found.

    Raises:
        StudyFileError: the text is not YAML, so that nothing further can be checked.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return _Constructor(loader, problems).value(node, ()) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        place = (mark.line + 1, mark.column + 1) if mark else None
        problems.add((), f"not YAML: {error.problem}{context}", place)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        problems.add((), f"not YAML: character {chr(error.character)!r} is not allowed", (line, 1))
    except RecursionError:
        problems.add((), "not a study: nested too deeply")
    problems.raise_if_any()
    raise AssertionError("unreachable: a problem was recorded")


def write_yaml(data: Mapping[Any, object], source: str) -> str:
    """A mapping as YAML text: one line a key, with its value as JSON, which is YAML, too.

    Args:
        data: plain values, NumPy's, and paths; any other object becomes text.
        source: the name of the mapping in messages.

    Raises:
        StudyFileError: it holds itself, or a key that is no text.
    """
    try:
        return "".join(
            f"{key if key.isidentifier() else _json(key)}: {_json(value)}\n"
            for key, value in ((str(key), value) for key, value in data.items())
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise StudyFileError([f"{source}: cannot be written as YAML: {error}"]) from error


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return text if text.isprintable() else json.dumps(value, default=_plain)


def _plain(value: Any) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)  # NumPy's arrays and numbers


class _Constructor:
    """Turns the nodes of one document into plain values."""

    def __init__(self, loader: _Loader, problems: Problems) -> None:
        self.loader, self.problems = loader, problems
        self.ancestors: list[yaml.Node] = []
        self.values = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self.problems.marks.setdefault(path, _mark(node))
        self.values += 1
        if node in self.ancestors or self.values > MOST_VALUES:
            raise yaml.MarkedYAMLError(None, None, "an alias holds itself or too much", node.start_mark)
        self.ancestors.append(node)
        value: object = None
        match node:
            case yaml.MappingNode():
                value = self.mapping(node, path)
            case yaml.SequenceNode():
                value = [self.value(each, (*path, index)) for index, each in enumerate(node.value)]
            case yaml.ScalarNode():
                value = self.scalar(node, path)
        self.ancestors.pop()
        return value

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        self.report_keys(node, path)
        self.loader.flatten_mapping(node)
        entries = [(key, each) for key, each in node.value if _is_text(key)]
        for key, _ in entries:
            self.problems.marks[(*path, key.value)] = _mark(key)
        return {key.value: self.value(each, (*path, key.value)) for key, each in entries}

    def report_keys(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line, column = _mark(key)
            if not _is_text(key) and key.tag != f"{TAG}merge":
                shown = printable(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                self.problems.add(path, f"found the key {shown}; allowed: text", (line, column))
            elif key.value in first:
                message = f"given twice, first on line {first[key.value]}; keep one"
                self.problems.add((*path, key.value), message, (line, column))
            else:
                first[key.value] = line

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        text = node.value
        match node.tag.removeprefix(TAG):
            case "str":
                return encodable(text, path, self.problems)
            case "int" | "float":
                is_special = re.fullmatch(SPECIAL_FLOAT, text)
                return NumberLiteral(float(text.replace(".", "")), text) if is_special else read_number(text)
            case "bool" if text.lower() in ("true", "false"):
                return bool(text.lower() == "true")
            case "null":
                return None
        message = f"found the YAML tag {node.tag}; allowed: text, numbers, true or false"
        self.problems.add_unreadable(path, message)
        return text


def encodable(text: str, path: KeyPath, problems: Problems) -> str:
    """``text`` as UTF-8 can encode it; records a problem if that is not ``text`` itself."""
    if _is_utf8(text):
        return text
    problems.add_unreadable(path, f"found {show(text)}, which is not UTF-8; allowed: text in UTF-8")
    return text.encode(errors="backslashreplace").decode()


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="ignore").decode()


def _is_text(key: yaml.Node) -> bool:
    return bool(key.tag == f"{TAG}str") and _is_utf8(key.value)


def _mark(node: yaml.Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1
