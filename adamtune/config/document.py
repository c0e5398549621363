"""YAML text to plain values and the place of each: the only module that knows YAML.

Plain values are those of JSON. The syntax is YAML 1.1 with three differences: ``1e-5`` is a number,
``2024-01-31`` is text, and a key given twice is a problem.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import yaml

from adamtune.config.problems import KeyPath, Problems
from adamtune.errors import StudyFileError

TAG = "tag:yaml.org,2002:"
MOST_VALUES = 10_000
"""No study file needs more; aliases of aliases would fill the memory otherwise."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with floats as people write them and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    f"{TAG}float", re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def read_text(path: Path) -> str:
    """The text of a study file.

    Raises:
        StudyFileError: there is no such file, it cannot be read, or it is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        close = get_close_matches(path.name, [each.name for each in path.parent.glob("*.y*ml")], n=1)
        hint = f"; did you mean {path.with_name(close[0])}?" if close else "; give the path of a study file"
        raise StudyFileError([f"{path}: no such file{hint}"]) from None
    except OSError as error:
        raise StudyFileError([f"{path}: cannot be read: {error.strerror}; give a study file"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"{data[error.start]:#04x}"
        raise StudyFileError(
            [f"{path}:{line}: not UTF-8: found byte {byte}; save the file as UTF-8"]
        ) from None


def read_yaml(text: str, problems: Problems) -> object:
    """The plain value of ``text``; places and problems go to ``problems``.

    Raises:
        StudyFileError: the text is not YAML, so that nothing further can be checked.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = _Reader(loader, problems).value(node, ()) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        problems.add(
            (), f"not YAML: {error.problem}{context}", (mark.line + 1, mark.column + 1) if mark else None
        )
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        problems.add((), f"not YAML: character {chr(error.character)!r} is not allowed", (line, 1))
    except RecursionError:
        problems.add((), "not a study: nested too deeply")
    else:
        return value
    problems.raise_if_any()
    raise AssertionError("unreachable: a problem was recorded")


class _Reader:
    """Turns nodes into plain values."""

    def __init__(self, loader: _Loader, problems: Problems) -> None:
        self.loader, self.problems = loader, problems
        self.open: list[yaml.Node] = []
        self.values = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self.problems.marks.setdefault(path, _mark(node))
        self.values += 1
        if node in self.open or self.values > MOST_VALUES:
            raise yaml.MarkedYAMLError(None, None, "an alias holds itself or too much", node.start_mark)
        self.open.append(node)
        match node:
            case yaml.MappingNode():
                value: object = self.mapping(node, path)
            case yaml.SequenceNode():
                value = [self.value(each, (*path, index)) for index, each in enumerate(node.value)]
            case _:
                value = self.scalar(node, path)
        self.open.pop()
        return value

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        self.report_keys(node, path)
        self.loader.flatten_mapping(node)
        entries = [(key, each) for key, each in node.value if key.tag == f"{TAG}str"]
        for key, _ in entries:
            self.problems.marks[(*path, key.value)] = _mark(key)
        return {key.value: self.value(each, (*path, key.value)) for key, each in entries}

    def report_keys(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line, column = _mark(key)
            if key.tag not in (f"{TAG}str", f"{TAG}merge"):
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                self.problems.add(path, f"found the key {shown}; allowed: text", (line, column))
            elif key.value in first:
                message = f"given twice, first on line {first[key.value]}; keep one"
                self.problems.add((*path, key.value), message, (line, column))
            else:
                first[key.value] = line

    def scalar(self, node: yaml.Node, path: KeyPath) -> object:
        try:
            value = self.loader.construct_object(node)
        except ValueError:  # such as the hexadecimal number 0x_
            value = node.value
        if isinstance(value, str) and value != value.encode(errors="replace").decode():
            self.problems.add(path, f"found {value!r}; allowed: text that UTF-8 can hold")
            return ""
        if isinstance(value, str | int | float | None):
            return value
        self.problems.add(path, f"found the YAML tag {node.tag}; allowed: text, numbers, true or false")
        return str(value)


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
