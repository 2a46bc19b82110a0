"""Parse tree to syntax tree: a method per grammar rule that keeps a node of its own."""

from __future__ import annotations

from inspect import cleandoc
from math import isinf
from typing import Any

from lark import Token, Transformer, v_args
from lark.tree import Meta

from fusec.diagnostics import Diagnostic, Source, Span
from fusec.lang import syntax

MAX_LITERAL = 40
"""Characters a number may have."""
MAX_INTEGER = 2**63 - 1


@v_args(meta=True)
class TreeBuilder(Transformer[Token, syntax.Definition]):
    """Builds the nodes of one definition, whose text begins at `start` of the source.

    `faults` are literals that no number type holds.
    """

    def __init__(self, source: Source, start: int) -> None:
        super().__init__()
        self.faults: list[Diagnostic] = []
        self._source = source
        self._start = start

    def use(self, meta: Meta, parts: list[Any]) -> syntax.Use:
        name = self._word(parts[0])
        return syntax.Use(name, self._span(meta).to(name.span))

    def fn(self, meta: Meta, parts: list[Any]) -> syntax.Fn:
        name, *params, (doc, body) = parts
        return syntax.Fn(self._word(name), tuple(map(self._word, params)), doc, body, self._span(meta))

    def op(self, meta: Meta, parts: list[Any]) -> syntax.Op:
        name, *params, results, conditions, (doc, body) = parts
        return syntax.Op(self._word(name), tuple(params), results, conditions, doc, body, self._span(meta))

    def module(self, meta: Meta, parts: list[Any]) -> syntax.Module:
        name, *settings, op = parts
        last = self._word(op)
        return syntax.Module(self._word(name), tuple(settings), last, self._span(meta).to(last.span))

    def overload(self, meta: Meta, parts: list[Any]) -> syntax.Overload:
        name, op = map(self._word, parts)
        return syntax.Overload(name, op, self._span(meta).to(op.span))

    def setting(self, meta: Meta, parts: list[Any]) -> syntax.Setting:
        name, dim, default = parts
        return syntax.Setting(self._word(name), dim, default, self._span(meta))

    def param(self, meta: Meta, parts: list[Any]) -> syntax.Param:
        kind, name, type, default = parts
        return syntax.Param(kind, self._word(name), type, default, self._span(meta))

    def kind(self, meta: Meta, parts: list[Any]) -> syntax.Name:
        return self._word(parts[0])

    def tensor(self, meta: Meta, parts: list[Any]) -> syntax.TensorType:
        element, *dims = parts
        return syntax.TensorType(self._word(element), tuple(dims), self._span(meta))

    def scalar(self, meta: Meta, parts: list[Any]) -> syntax.ScalarType:
        return syntax.ScalarType(self._word(parts[0]), self._span(meta))

    def dim(self, meta: Meta, parts: list[Any]) -> syntax.DimType:
        word, axis = map(self._word, parts)
        return syntax.DimType(word, axis, self._span(meta))

    def choice(self, meta: Meta, parts: list[Any]) -> syntax.ChoiceType:
        return syntax.ChoiceType(tuple(map(self._word, parts)), self._span(meta))

    def results(self, meta: Meta, parts: list[Any]) -> tuple[syntax.Result, ...]:
        return tuple(parts)

    def result(self, meta: Meta, parts: list[Any]) -> syntax.Result:
        name, type = parts
        return syntax.Result(self._word(name), type, self._span(meta))

    def conditions(self, meta: Meta, parts: list[Any]) -> tuple[syntax.Condition, ...]:
        return tuple(parts)

    def membership(self, meta: Meta, parts: list[Any]) -> syntax.Membership:
        variable, *options = map(self._word, parts)
        return syntax.Membership(variable, tuple(options), self._span(meta))

    def body(self, meta: Meta, parts: list[Any]) -> tuple[str, tuple[syntax.Statement, ...]]:
        doc = ""
        if parts and isinstance(parts[0], Token):
            doc = cleandoc(parts.pop(0)[3:-3])
        return doc, tuple(parts)

    def assign(self, meta: Meta, parts: list[Any]) -> syntax.Assign:
        target, value = parts
        targets = target.items if isinstance(target, syntax.Several) else (target,)
        return syntax.Assign(targets, value, target.span.to(value.span))

    def add(self, meta: Meta, parts: list[Any]) -> syntax.Add:
        target, value = parts
        return syntax.Add(target, value, target.span.to(value.span))

    def returned(self, meta: Meta, parts: list[Any]) -> syntax.Return:
        return syntax.Return(parts[0], self._span(meta).to(parts[0].span))

    def bare(self, meta: Meta, parts: list[Any]) -> syntax.Bare:
        return syntax.Bare(parts[0], parts[0].span)

    def several(self, meta: Meta, parts: list[Any]) -> syntax.Several:
        return syntax.Several(tuple(parts), self._span(meta))

    def name(self, meta: Meta, parts: list[Any]) -> syntax.Name:
        return self._word(parts[0])

    def number(self, meta: Meta, parts: list[Any]) -> syntax.Number:
        text, span = str(parts[0]), self._span(meta)
        if len(text) > MAX_LITERAL:
            self.faults.append(Diagnostic(f"a number has at most {MAX_LITERAL} characters", span))
            return syntax.Number(0, span)
        value = int(text, 0) if text[:2].lower() in ("0x", "0b") else int(text) if text.isdigit() else float(text)
        if isinstance(value, int) and value > MAX_INTEGER:
            self.faults.append(
                Diagnostic(
                    "this integer does not fit into 64 bits",
                    span,
                    help=f"write it as `{text}.0`" if text.isdigit() else None,
                )
            )
        elif isinstance(value, float) and isinf(value):
            self.faults.append(
                Diagnostic("this number is too large for a double", span, help="infinity is called `inf`")
            )
        return syntax.Number(value, span)

    def dots(self, meta: Meta, parts: list[Any]) -> syntax.Dots:
        return syntax.Dots(self._span(meta))

    def call(self, meta: Meta, parts: list[Any]) -> syntax.Call:
        callee, *args = parts
        return syntax.Call(self._word(callee), tuple(args), self._span(meta))

    def lookup(self, meta: Meta, parts: list[Any]) -> syntax.Lookup:
        target, *indices = parts
        return syntax.Lookup(target, tuple(indices), self._span(meta))

    def positional(self, meta: Meta, parts: list[Any]) -> syntax.Argument:
        return syntax.Argument(parts[0], None, self._span(meta))

    def keyword(self, meta: Meta, parts: list[Any]) -> syntax.Argument:
        return syntax.Argument(parts[1], self._word(parts[0]), self._span(meta))

    def arrow(self, meta: Meta, parts: list[Any]) -> syntax.Argument:
        span = self._span(meta)
        return syntax.Argument(syntax.Arrow(parts[0], parts[1], span), None, span)

    def unary(self, meta: Meta, parts: list[Any]) -> syntax.Unary:
        operator, operand = parts
        return syntax.Unary(UNARY[operator], operand, self._span(meta))

    def binary(self, meta: Meta, parts: list[Any]) -> syntax.Binary:
        left, operator, right = parts
        return syntax.Binary(BINARY[operator], left, right, self._span(meta))

    def _word(self, token: Token) -> syntax.Name:
        start = self._start + (token.start_pos or 0)
        return syntax.Name(str(token), Span(self._source, start, start + len(token)))

    def _span(self, meta: Meta) -> Span:
        return Span(self._source, self._start + meta.start_pos, self._start + meta.end_pos)


UNARY = {"-": "neg", "not": "not", "~": "bitnot"}
BINARY = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "//": "floordiv",
    "%": "mod",
    "**": "pow",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "and": "and",
    "or": "or",
    "&": "bitand",
    "|": "bitor",
    "^": "bitxor",
    "<<": "lshift",
    ">>": "rshift",
}
"""What the operators are called in `ir.ops.ELEMENTWISE`."""
