"""Faults planted in the compiler: every place of a module where one word or one statement can be changed into another.

A mutant differs from the module in one place. What says nothing about what is computed is left alone: annotations,
texts, decorators, `raise`, `assert` and `assert_never`, and what tells of a fault of fusec itself.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

_COMPARED: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}

_COMPUTED: Mapping[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "+",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "//",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
    ast.LShift: ">>",
    ast.RShift: "<<",
}

FIGURE = 16
"""Numbers from this on are doubled, smaller ones get 1 more: of a limit that is one part in a hundred too high, nobody
can say that it is wrong."""

_SILENT = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)

_EITHER_WAY = ("min", "max", "gcd", "math.gcd", "math.hypot", "tl.minimum", "tl.maximum", "broadcast")
"""Functions of which the first two arguments may be exchanged; shapes are broadcast to the same one either way."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one fault on line `line`: the bytes from `start` to `end` become `text`."""

    kind: str
    line: int
    start: int
    end: int
    old: str
    text: str

    def applied(self, source: str) -> str:
        """The faulty module."""
        held = source.encode()
        return (held[: self.start] + self.text.encode() + held[self.end :]).decode()


Change: TypeAlias = tuple[str, ast.AST, str]
"""The kind of a fault, the node it replaces, and by what."""


def mutants(source: str) -> tuple[Mutant, ...]:
    """Every mutant of a module that is still Python, in the order of the text."""
    return tuple(each for each in _changed(source) if _parses(each.applied(source)))


def _changed(source: str) -> list[Mutant]:
    """Every change of a module, in the order of the text, those among them that are no longer Python."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def placed(change: Change) -> Mutant:
        kind, node, text = change
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        return Mutant(kind, node.lineno, start, end, source.encode()[start:end].decode(), text)

    found = [placed(change) for node in _places(ast.parse(source)) for change in _changes(node)]
    other = (each for each in dict.fromkeys(found) if each.text != each.old)
    return sorted(other, key=lambda each: (each.start, each.end, each.kind))


def sample(sources: Mapping[str, str], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """So many lines of the modules `sources`, drawn by `seed`, with one mutant each."""
    random = Random(seed)
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for path, source in sorted(sources.items()):
        for mutant in _changed(source):
            lines.setdefault((path, mutant.line), []).append(mutant)
    places = sorted(lines)
    random.shuffle(places)
    found: list[tuple[str, Mutant]] = []
    for path, line in places:
        # Those of the lines that are drawn alone are tried: that takes a minute for all.
        right = [each for each in lines[path, line] if _parses(each.applied(sources[path]))]
        if right:
            found.append((path, random.choice(right)))
        if len(found) == count:
            break
    return found


def _parses(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _places(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node` that say what is computed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params", "pattern"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, _SILENT) or _is_text(child) or _is_alias(child):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue  # As an assertion.
            yield child
            yield from _places(child)


def _is_text(node: ast.AST) -> bool:
    """Whether a node is there to be read: by people, by the type checker, or by whoever mends fusec."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    call = node.value if isinstance(node, ast.Expr) else node
    if isinstance(call, ast.Call):
        return ast.unparse(call.func) in ("assert_never", "InternalError")
    return isinstance(node, ast.JoinedStr)


def _is_alias(node: ast.AST) -> bool:
    """Whether a statement gives a type a name."""
    return isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in ("TypeAlias", "typing.TypeAlias")


def _changes(node: ast.AST) -> Iterator[Change]:
    for change in _CHANGES:
        yield from change(node)


def _comparison(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield "comparison", node, f"({left} {_COMPARED[type(node.ops[0])]} {right})"


def _arithmetic(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield "arithmetic", node, f"({ast.unparse(node.left)} {_COMPUTED[type(node.op)]} {ast.unparse(node.right)})"


def _boolean(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield "boolean", node, f"({word.join(f'({ast.unparse(value)})' for value in node.values)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "boolean", node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.If | ast.IfExp):
        yield "boolean", node.test, f"(not ({ast.unparse(node.test)}))"


def _constant(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield "constant", node, str(node.value * 2 if node.value >= FIGURE else node.value + 1)


def _removed(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Continue | ast.Break):
        yield "removed statement", node, "pass"


def _swapped(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Call) and len(node.args) > 1 and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        if ast.unparse(node.func) in _EITHER_WAY:
            return
        texts = [ast.unparse(each) for each in (*node.args, *node.keywords)]
        texts[0], texts[1] = texts[1], texts[0]
        yield "swapped arguments", node, f"{ast.unparse(node.func)}({', '.join(texts)})"


_CHANGES: tuple[Callable[[ast.AST], Iterator[Change]], ...] = (
    _comparison,
    _arithmetic,
    _boolean,
    _constant,
    _removed,
    _swapped,
)
