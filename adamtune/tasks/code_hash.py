"""The hash of a user's code, which tells whether a study continues with the code that it began with."""

from __future__ import annotations

import ast
from hashlib import sha256
from pathlib import Path
from typing import Any


def code_hash(path: Path) -> str:
    """SHA-256 (hex) of the code of a file and of the files of its folder that it imports.

    Comments, docstrings and layout do not count.
    """
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    digest = sha256()
    for each in sorted(_imports_of(path, root, {})):
        code = ast.unparse(without_docstrings(ast.parse(each.read_bytes(), each)))
        digest.update(f"{each.relative_to(root)}\0{code}\0".encode())
    return digest.hexdigest()


def _imports_of(path: Path, root: Path, found: dict[Path, None]) -> dict[Path, None]:
    """The file, and every file below ``root`` that it imports, directly or not."""
    found[path] = None
    for node in ast.walk(ast.parse(path.read_bytes(), path)):
        for name in _imported_names(node, path, root):
            stem = root.joinpath(*name.split("."))
            for each in (stem.with_suffix(".py"), stem / "__init__.py"):
                if each.is_file() and each not in found:
                    _imports_of(each, root, found)
    return found


def _imported_names(node: ast.AST, path: Path, root: Path) -> list[str]:
    """The dotted names that an import statement may mean, from ``root``, and of the packages around them."""
    if isinstance(node, ast.Import):
        names = [each.name for each in node.names]
    elif isinstance(node, ast.ImportFrom):
        package = path.relative_to(root).parts[: -node.level] if node.level else ()
        base = [*package, *([node.module] if node.module else [])]
        names = [".".join([*base, each.name]) for each in node.names]
    else:
        return []
    return [".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)]


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree itself, whose docstrings are taken out."""
    for node in ast.walk(tree):
        body: Any = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            body[:] = body[1:] or [ast.Pass()]
    return tree
