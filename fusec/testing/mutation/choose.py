"""The tests that may tell a mutant: those that run its line, or what its line made when its module was imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fusec.testing.mutation.baseline import Baseline, Known, Masks
from fusec.testing.mutation.faults import Mutant


class Sources:
    """The modules of fusec, and where each name stands in them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._trees = {path: ast.parse(text) for path, text in texts.items()}
        self._uses: dict[str, dict[str, int]] = {}
        for path, tree in self._trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Name | ast.Attribute):
                    name = node.id if isinstance(node, ast.Name) else node.attr
                    lines = self._uses.setdefault(name, {})
                    lines[path] = lines.get(path, 0) | _mask(node.lineno, node.end_lineno or node.lineno)

    @staticmethod
    def of(root: Path) -> Sources:
        """Those of a repository."""
        return Sources({str(path.relative_to(root)): path.read_text() for path in (root / "fusec").rglob("*.py")})

    def reached(self, path: str, mutant: Mutant) -> Iterator[Masks]:
        """Sets of lines, the most telling first: who runs one of the first set that anyone runs may tell the mutant."""
        tree = self._trees[path]
        yield {path: _mask(mutant.line, mutant.line + mutant.old.count("\n"))}
        statement, names = _around(tree, mutant.line)
        yield {path: statement}
        used: dict[str, int] = {}
        for name in names:
            for where, lines in self._uses.get(name, {}).items():
                used[where] = used.get(where, 0) | lines
        yield used
        # A function that runs while modules are imported.
        yield {path: -1}


def _around(tree: ast.Module, line: int) -> tuple[int, tuple[str, ...]]:
    """The lines of the innermost statement, or of its head, and the names that are bound where it runs at import."""
    found = 0
    names: tuple[str, ...] = ()
    at_import = True
    body: Sequence[ast.AST] = tree.body
    while holding := [each for each in body if _first(each) <= line <= _last(each)]:
        (node, *_) = holding
        body = _within(node)
        if isinstance(node, ast.stmt):
            head = min((_first(each) - 1 for each in body), default=_last(node))
            found = _mask(node.lineno, max(node.lineno, head))
            names = (*names, *_bound(node)) if at_import else ()
        if isinstance(node, ast.FunctionDef) and line >= node.body[0].lineno:
            at_import, names = False, ()
    return found, names


def _within(node: ast.AST) -> list[ast.AST]:
    """The statements in a statement, and its cases, in order."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.match_case):
            found.append(child)
        elif isinstance(child, ast.ExceptHandler):
            found += child.body
    return found


def _first(node: ast.AST) -> int:
    if isinstance(node, ast.match_case):
        return node.pattern.lineno
    assert isinstance(node, ast.stmt)
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(each.lineno for each in decorators)])


def _last(node: ast.AST) -> int:
    if isinstance(node, ast.match_case):
        return _last(node.body[-1])
    assert isinstance(node, ast.stmt)
    return node.end_lineno or node.lineno


def _bound(node: ast.stmt) -> tuple[str, ...]:
    """The names that a statement gives to something."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return tuple(each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
    return ()


def _mask(first: int, last: int) -> int:
    return (1 << (last + 1)) - (1 << first)


def reaching(known: Baseline, sources: Sources, path: str, mutant: Mutant) -> list[Known]:
    """Every test that may tell a mutant."""
    for wanted in sources.reached(path, mutant):
        found = [
            each for each in known.tests if any(each.lines.get(where, 0) & lines for where, lines in wanted.items())
        ]
        if found:
            return found
    return []


def ordered(known: Baseline, tests: Sequence[Known], most: float) -> list[Known]:
    """The tests to run, for at most so many seconds: a few of every file, quick files first, then more of each.

    Of a file those that take little time come first, and of these those that run little else.
    """
    files: dict[str, list[Known]] = {}
    for each in sorted(tests, key=lambda each: (round(each.seconds, 1), _size(each))):
        files.setdefault(each.file, []).append(each)
    rest = sorted(files.items(), key=lambda item: known.modules.get(item[0], 0.0) + item[1][0].seconds)
    found: list[Known] = []
    seconds, count, loaded = 0.0, 2, set[str]()
    while rest:
        for file, left in rest:
            for each in left[:count]:
                cost = each.seconds + (0.0 if file in loaded else known.modules.get(file, 0.0))
                if found and seconds + cost > most:
                    continue
                seconds += cost
                loaded.add(file)
                found.append(each)
        rest = [(file, left[count:]) for file, left in rest if len(left) > count]
        count *= 2
        if seconds >= most:
            break
    return found


def _size(test: Known) -> int:
    return sum(lines.bit_count() for lines in test.lines.values())
