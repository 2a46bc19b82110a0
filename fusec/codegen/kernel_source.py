"""What the kernels of a generated file are made of: their text, and that of what they name at the top of the file."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence


def kernel_sources(text: str, kernels: Collection[str]) -> dict[str, str]:
    """The text of those of the `kernels` that a file has, with the functions and constants of it that they name."""
    lines = text.splitlines()
    tops = {name: statement for statement in ast.parse(text).body for name in _defined(statement)}
    named: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for kernel in tops.keys() & set(kernels):
        reached, left = {kernel}, [kernel]
        while left:
            name = left.pop()
            if name not in named:
                named[name] = {node.id for node in ast.walk(tops[name]) if isinstance(node, ast.Name)} & tops.keys()
            more = named[name] - reached
            reached |= more
            left += more
        found[kernel] = "\n".join(_lines(lines, tops[name]) for name in sorted(reached))
    return found


def _lines(lines: Sequence[str], statement: ast.stmt) -> str:
    """The lines of a statement, with decorators."""
    first = min(each.lineno for each in (statement, *getattr(statement, "decorator_list", ())))
    return "\n".join(lines[first - 1 : statement.end_lineno])


def _defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name):
            yield name
        case ast.Assign(targets=[ast.Name(name)]):
            yield name
        case ast.ImportFrom(names=names) | ast.Import(names=names):
            yield from (alias.asname or alias.name for alias in names)
