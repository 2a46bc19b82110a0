"""What the kernels of a generated file are made of: their text, and that of what they name at the top of the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def kernel_sources(text: str) -> dict[str, str]:
    """The text of each function of a file, with the functions and constants of the file that it names."""
    tops: dict[str, ast.stmt] = {}
    for statement in ast.parse(text).body:
        for name in _defined(statement):
            tops[name] = statement
    functions = [name for name, top in tops.items() if isinstance(top, ast.FunctionDef)]
    texts = {name: ast.unparse(top) for name, top in tops.items()}
    names = {name: {node.id for node in ast.walk(top) if isinstance(node, ast.Name)} for name, top in tops.items()}
    found: dict[str, str] = {}
    for function in functions:
        reached, left = {function}, [function]
        while left:
            more = (names[left.pop()] & tops.keys()) - reached
            reached |= more
            left += more
        found[function] = "\n".join(texts[name] for name in sorted(reached))
    return found


def _defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name):
            yield name
        case ast.Assign(targets=[ast.Name(name)]):
            yield name
        case ast.ImportFrom(names=names) | ast.Import(names=names):
            yield from (alias.asname or alias.name for alias in names)
