"""What all code of one op shares while it is being elaborated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusec.diagnostics import Span
from fusec.ir.arithmetic import Number
from fusec.ir.builder import Builder, GraphBuilder
from fusec.ir.expressions import Expr, NodeId
from fusec.ir.graph import Param, ScalarParam, Scatter, TensorParam
from fusec.ir.type_rules import infer
from fusec.ir.types import DTypeVar, Sum, ValueType
from fusec.lang.syntax import Fn, Program
from fusec.passes.graph.elaborate.folding import constant
from fusec.passes.graph.elaborate.report import Report

MAX_CALLS = 2000
"""Calls that may be inlined into one op, so that functions calling functions cannot blow up."""
MAX_NODES = 20000


@dataclass(slots=True)
class Context:
    """The graph so far, and what the signature declares. Also the `Surroundings` of the primitives.

    `axes` are the axes that may be written in the body, with the place that introduces each; `written` the `mut`
    tensors written so far; `called` the nodes that the op itself has a name for; `bounded` the share that the op says
    has a bound; `excused` says that a name was left undefined because its definition could not be read.
    """

    program: Program
    report: Report
    params: Mapping[str, Param]
    variables: Mapping[str, DTypeVar]
    axes: dict[str, Span]
    sums: tuple[Sum, ...]
    builder: GraphBuilder = field(default_factory=Builder[Expr])
    scatters: list[Scatter] = field(default_factory=list)
    written: dict[str, Span] = field(default_factory=dict)
    called: set[NodeId] = field(default_factory=set)
    bounded: float | None = None
    constants: dict[NodeId, Number] = field(default_factory=dict)
    calls: int = 0
    excused: bool = False

    def type_of(self, node: NodeId) -> ValueType:
        return self.builder[node].type

    def add(self, expr: Expr, span: Span, name: str | None = None) -> NodeId:
        """The typed node of `expr`. Raises `TypeFault`, also where it is made of literals and is no number."""
        type, number = self.infer(expr), constant(expr, self.constants)
        node = self.builder.add(expr, type, name, span)
        if number is not None:
            self.constants[node] = number
        return node

    def infer(self, expr: Expr) -> ValueType:
        """The type that `expr` would have. Raises `TypeFault`."""
        return infer(expr, self.type_of, self._param)

    def call_name(self, node: NodeId, name: str, in_op: bool) -> None:
        """Gives a computed node the first name that the op has for it, or else the first that a function has."""
        if self.builder[node].name is None or (in_op and node not in self.called):
            self.builder.call(node, name)
        if in_op:
            self.called.add(node)

    def functions(self, span: Span) -> Mapping[str, Fn]:
        """The functions visible where `span` stands."""
        return self.program.visible[span.source]

    def _param(self, name: str) -> TensorParam | ScalarParam:
        param = self.params[name]
        assert isinstance(param, TensorParam | ScalarParam)
        return param
