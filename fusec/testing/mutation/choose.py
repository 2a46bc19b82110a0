"""The tests that may tell a mutant: those that run its line, or what its line made when its module was imported."""

from __future__ import annotations

import ast
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from heapq import heapify, heappop, heappush
from operator import or_
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


def ordered(known: Baseline, tests: Sequence[Known], path: str, most: float) -> list[Known]:
    """The tests to run, for at most so many seconds, which four queues of them share.

    In one are those first that together run all that is run of the module at `path`, in another of its folder; in one
    those that run what few run of it; and in the last some of every file of tests.
    """
    quick = sorted(tests, key=lambda each: (round(each.seconds, 1), _size(each)))
    folder = path.rpartition("/")[0]
    beside = sorted({each for test in tests for each in test.lines if each.rpartition("/")[0] == folder})
    queues = [
        iter(each)
        for each in (
            _covering(quick, [path], 4),
            _rare(quick, path),
            _of_every_file(known, quick),
            _covering(quick, beside, 2),
        )
    ]
    spent = dict.fromkeys(range(len(queues)), 0.0)
    found: dict[str, Known] = {}
    loaded = set[str]()
    while spent:
        at = min(spent, key=spent.__getitem__)
        test = next((each for each in queues[at] if each.name not in found), None)
        if test is None:
            del spent[at]
            continue
        cost = test.seconds + (0.0 if test.file in loaded else known.modules.get(test.file, 0.0))
        if found and cost > most:
            continue
        spent[at] += cost
        most -= cost
        loaded.add(test.file)
        found[test.name] = test
    return [*found.values()]


def _rare(tests: Sequence[Known], path: str) -> list[Known]:
    """The tests, those first that run what few others do, in little time."""
    alike = Counter(test.lines.get(path, 0) for test in tests)
    runs: Counter[int] = Counter()
    for mask, count in alike.items():
        for line in _bits(mask):
            runs[line] += count
    worth = {mask: sum(1 / runs[line] for line in _bits(mask)) for mask in alike}
    return sorted(tests, key=lambda test: -worth[test.lines.get(path, 0)] / (test.seconds + _START))


def _bits(mask: int) -> Iterator[int]:
    while mask:
        yield mask.bit_length()
        mask ^= 1 << (mask.bit_length() - 1)


def _covering(tests: Sequence[Known], paths: Sequence[str], times: int) -> Iterator[Known]:
    """Tests that together run each line of modules that one of them runs, those first that run many in little time.

    Then others that do, so many times.
    """
    masks = [sum(test.lines.get(path, 0) << (_LONGEST * at) for at, path in enumerate(paths)) for test in tests]
    left = {at for at, mask in enumerate(masks) if mask}
    for _ in range(times):
        covered, whole = 0, reduce(or_, (masks[at] for at in left), 0)
        # What a test adds only gets less: it is counted anew when it seems to add most.
        waiting = [(-masks[at].bit_count() / (tests[at].seconds + _START), at) for at in left]
        heapify(waiting)
        while covered != whole:
            _, at = heappop(waiting)
            value = -(masks[at] & ~covered).bit_count() / (tests[at].seconds + _START)
            if waiting and value > waiting[0][0]:
                heappush(waiting, (value, at))
                continue
            covered |= masks[at]
            left.remove(at)
            yield tests[at]


_LONGEST = 1024
"""Lines of a module at most."""

_START = 0.05
"""Seconds that any test takes."""


def _of_every_file(known: Baseline, tests: Sequence[Known]) -> Iterator[Known]:
    """The first test of each file, of files that are quickly loaded first, then the second, and so on."""
    files: dict[str, list[Known]] = {}
    for each in tests:
        files.setdefault(each.file, []).append(each)
    quick = sorted(files.values(), key=lambda found: known.modules.get(found[0].file, 0.0) + found[0].seconds)
    return (each for row in itertools.zip_longest(*quick) for each in row if each is not None)


def _size(test: Known) -> int:
    return sum(lines.bit_count() for lines in test.lines.values())
