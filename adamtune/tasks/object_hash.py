"""The hash of the code of a class that a notebook or a program defines. Torch-free."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from hashlib import sha256
from inspect import getsource, isclass, isfunction, unwrap
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

from adamtune.tasks.code_hash import code_hash, without_docstrings

PLAIN = (bool, int, float, str, bytes, type(None))
INSTALLED = tuple(Path(sysconfig.get_path(each)) for each in ("stdlib", "purelib", "platlib"))


def object_hash(value: type) -> str | None:
    """SHA-256 (hex) of the source of a class and of what it uses; None where the source is not known.

    What it uses are the functions, classes and plain values that its methods name, of the same module, and
    the users' files that others come from. Comments, docstrings and layout do not count.
    """
    try:
        parts = "\0".join(_code(value, value.__module__, set()))
    except (OSError, TypeError):  # such as a class typed into a shell
        return None
    return sha256(parts.encode()).hexdigest()


def _code(value: object, home: str, seen: set[int]) -> Iterator[str]:
    """The code of a value and, after it, of what it uses, each once.

    Args:
        value: anything that code names.
        home: the name of the module whose functions and classes are taken one by one.
        seen: the ids of what was found before.
    """
    value = _unwrapped(value)
    if _is_plain(value):
        yield repr(value)
    elif id(value) in seen:
        return
    elif isinstance(value, ModuleType):
        seen.add(id(value))
        yield from _file_hash(value)
    elif isclass(value) or isfunction(value):
        seen.add(id(value))
        if value.__module__ != home:
            yield from _file_hash(sys.modules.get(value.__module__))
        elif isclass(value):
            for each in (*value.__bases__, *_members(value)):
                yield from _code(each, home, seen)
        else:
            yield from _function(value, home, seen)


def _unwrapped(value: Any) -> object:
    """The function in a method, a property or a wrapper; any other value as it is."""
    match value:
        case staticmethod() | classmethod():
            return _unwrapped(value.__func__)
        case property():
            return _unwrapped(value.fget)
        case partial() | cached_property():
            return _unwrapped(value.func)
    return unwrap(value) if isfunction(value) else value


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return isinstance(value, PLAIN)


def _members(value: type) -> Iterator[object]:
    """What the body of a class defines; its fields are settings of the study, which has them itself."""
    for name, each in vars(value).items():
        if isfunction(_unwrapped(each)) or not name.startswith(("_", "model_")):
            yield each


def _file_hash(module: ModuleType | None) -> Iterator[str]:
    """The hash of a module's file, unless it is installed."""
    file = Path(getattr(module, "__file__", None) or "/")
    installed = module is None or module.__name__.partition(".")[0] == "adamtune"
    if not installed and file.suffix == ".py" and not any(map(file.is_relative_to, INSTALLED)):
        yield code_hash(file)


def _function(function: FunctionType, home: str, seen: set[int]) -> Iterator[str]:
    source = dedent(getsource(function))
    try:
        tree = without_docstrings(ast.parse(source))
    except SyntaxError:  # a lambda in the middle of a statement
        yield source
        return
    yield ast.unparse(tree)
    scope = _scope(function)
    for name in sorted({each.id for each in ast.walk(tree) if isinstance(each, ast.Name)} & scope.keys()):
        yield from _code(scope[name], home, seen)


def _scope(function: FunctionType) -> Mapping[str, Any]:
    """The values of a function's global names and of those of the functions around it."""
    around = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            around[name] = cell.cell_contents
    return function.__globals__ | around
