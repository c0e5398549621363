"""Loads the Python files of users' tasks, and says where a mistake in them is. Torch-free."""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from pydantic import PydanticUserError, ValidationError

from adamtune.errors import AdamtuneError, UsageError, first_line, origin
from adamtune.function import Trainable
from adamtune.tasks.code_hash import code_hash

_loaded: dict[Path, tuple[str, ModuleType]] = {}
"""The module of each file that was loaded, and the hash of its code then."""
_own: set[str] = set()
"""The names in ``sys.modules`` of the last file and of what it imported from its folder."""
_folders: set[str] = set()


def load_file(path: Path) -> ModuleType:
    """The module of a file; it may import other files of its folder.

    Raises:
        UsageError: it cannot be imported.
    """
    with user_errors(path):
        known = code_hash(path)
        if path not in _loaded or _loaded[path][0] != known:
            _loaded[path] = known, _execute(path)
    return _loaded[path][1]


def load_module(name: str) -> ModuleType:
    """The module of a dotted name, which may lie in the current folder.

    Raises:
        UsageError: it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    with user_errors(name):
        return import_module(name)


def find_function(name: str) -> Trainable:
    """The function of a ``ProgramEntry`` of this name.

    Raises:
        UsageError: its file or module is wrong, or has no such function.
    """
    place, _, own_name = name.rpartition(":")
    module = load_file(Path(place)) if place.endswith(".py") else load_module(place)
    function = getattr(module, own_name, None)
    if not isinstance(function, Trainable):
        raise UsageError(f"{module.__file__}: has no function {own_name} with @adamtune.trainable")
    return function


@contextmanager
def user_errors(place: object) -> Iterator[None]:
    """Turns what a user's code raises into a message with the file and line; what it prints goes to stderr.

    Args:
        place: names the code where its line is not known.

    Raises:
        UsageError: the code raised.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except AdamtuneError:
        raise
    except SyntaxError as error:
        raise UsageError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except SystemExit as error:
        raise UsageError(
            f"{_place(error, place)}: ends the program: put this under if __name__ == '__main__'"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] != "frozen_instance":  # which is raised where no user's code is
            raise UsageError(f"{place}: {_said(error)}") from error
        raise UsageError(
            f"{_place(error, place)}: {first['loc'][0]}: a task's attributes are settings, which do not"
            " change: set it on the model"
        ) from error
    except PydanticUserError as error:
        raise UsageError(_setting_error(error, _place(error, place))) from error
    except Exception as error:
        raise UsageError(f"{_place(error, place)}: {_said(error)}") from error


def _place(error: BaseException, place: object) -> str:
    """``FILE:LINE`` of the user's code that raised; ``place`` if it was none of it."""
    found = origin(error)
    installed = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    return str(place) if found is None or found.startswith(installed) else found


def _said(error: Exception) -> str:
    """The message of an error in one line, with its type unless it was raised here to be read."""
    if isinstance(error, ValidationError):
        found = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        return "; ".join(f"{name}: {message.removeprefix('Value error, ')}" for name, message in found)
    raised = Path(extract_tb(error.__traceback__)[-1].filename)
    own = isinstance(error, ValueError | TypeError) and raised.is_relative_to(Path(__file__).parent)
    return first_line(error) if own else f"{type(error).__name__}: {first_line(error)}"


def _setting_error(error: PydanticUserError, place: str) -> str:
    """What is wrong with a setting, as pydantic found when it read the class that begins at ``place``."""
    untyped = re.search(r"attribute was detected: `(\w+) = |^Field '(\w+)'", error.message)
    if untyped is None:
        return f"{place}: {error.message.splitlines()[0]}"
    name = untyped[1] or untyped[2]
    file, _, line = place.rpartition(":")
    return f"{_line(Path(file), int(line), name)}: {name} has no type: write it as {name}: int = 64"


def _execute(path: Path) -> ModuleType:
    """Runs a file as a module, as ``python FILE`` would find the modules that it imports."""
    for name in _own:
        sys.modules.pop(name, None)  # of another file, whose folder may have modules of the same names
    _own.clear()
    sys.path[:] = [str(path.parent), *(each for each in sys.path if each not in _folders)]
    _folders.add(str(path.parent))
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    module = ModuleType(f"adamtune_task_{path.stem}" if taken else path.stem)
    module.__file__ = str(path)
    before = set(sys.modules)
    sys.modules[module.__name__] = module
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with ignored("Field name .* shadows an attribute"):  # the task says it itself
            exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)
    finally:
        sys.dont_write_bytecode = writing
        new = {name: sys.modules.get(name) for name in sys.modules.keys() - before}
        _own.update(name for name, each in new.items() if _file_of(each).is_relative_to(path.parent))
    return module


@contextmanager
def ignored(message: str) -> Iterator[None]:
    """Ignores a warning; filters that the user's code sets meanwhile stay."""
    warnings.filterwarnings("ignore", message)
    ours = warnings.filters[0]
    try:
        yield
    finally:
        warnings.filters.remove(ours)  # type: ignore[attr-defined]


def _file_of(module: object) -> Path:
    return Path(getattr(module, "__file__", None) or "/")


def line_of(task: type, name: str | None = None) -> str:
    """``FILE:LINE`` of a class, or of what its body defines under a name."""
    module = sys.modules.get(task.__module__)
    file = getattr(module, "__file__", None)
    return _line(Path(file), task.__name__, name) if file else task.__name__


def line_of_change(kind: type, attribute: str) -> str | None:
    """``FILE:LINE`` of the last assignment to an attribute in the file of a class; None without one."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    nodes = ast.walk(ast.parse(Path(file).read_bytes()))
    stores = (each for each in nodes if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    lines = [each.lineno for each in stores if each.attr == attribute]
    return f"{file}:{max(lines)}" if lines else None


def _line(path: Path, which: str | int, name: str | None) -> str:
    """``FILE:LINE`` of the class of a name or line, or of what its body defines under a name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ClassDef) and which in (node.name, node.lineno):
            own = [each.lineno for each in node.body if name is not None and name in _defined(each)]
            return f"{path}:{(own or [node.lineno])[-1]}"
    return str(path)


def _defined(node: ast.stmt) -> set[str]:
    """The names that a statement in the body of a class defines."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = {each.id for each in targets if isinstance(each, ast.Name)}
    return names | {node.name} if isinstance(node, ast.FunctionDef) else names
