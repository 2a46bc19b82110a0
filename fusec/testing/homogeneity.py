"""How results scale with an argument: y(4 x) = 4**degree y(x), read off the graph."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias, assert_never

from fusec.ir.expressions import (
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Expr,
    Extent,
    Gather,
    Index,
    Input,
    MaxOf,
    Merge,
    Part,
    Reduce,
    Rename,
    Scalar,
    Segment,
    operands,
)
from fusec.ir.graph import Graph
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import DTYPES
from fusec.testing.cases import Case, storage

Degree: TypeAlias = Fraction | None
"""None for what is not homogeneous."""

_WIDE = {DTYPES[name] for name in ("f64", "f32", "bf16")}
"""Formats with room to scale: rounding to them commutes with a power of two."""


def degrees(graph: Graph, case: Case, param: str) -> dict[str, Fraction] | None:
    """The degree of every output in the tensor `param`; None if one has none, or a format no room to scale."""
    if storage(case, graph.tensor(param).element) not in _WIDE:
        return None
    known: list[Degree] = []
    for node in graph.nodes:
        known.append(_degree(node.expr, case, param, tuple(known[operand] for operand in operands(node.expr))))
    found: dict[str, Fraction] = {}
    for output in graph.outputs:
        degree = known[output.value]
        if degree is None or (degree and storage(case, output.element) not in _WIDE):
            return None
        found[output.name] = degree
    return found


def _degree(expr: Expr, case: Case, param: str, parts: tuple[Degree, ...]) -> Degree:
    match expr:
        case Input(name):
            return Fraction(name == param)
        case Gather(name, _):
            return Fraction(name == param) if not any(parts) and None not in parts else None
        case Scalar() | Const() | MaxOf() | Index() | Extent():
            return Fraction(0)
        case Elementwise(op, _):
            return _elementwise(op, parts)
        case Cast(_, dtype):
            return parts[0] if parts[0] == 0 or storage(case, dtype) in _WIDE else None
        case Dot():
            return None if None in parts else sum((part for part in parts if part), Fraction(0))
        case Reduce() | Part() | Merge() | Rename() | Choose() | Segment():
            return _common(parts)
        case _:
            assert_never(expr)


def _elementwise(op: str, parts: tuple[Degree, ...]) -> Degree:
    own = ELEMENTWISE[op]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or any(parts[: len(parts) - len(parts[own.numbers])]):
        return None
    degree = own.scaling.degree(known[own.numbers])
    return Fraction(0) if degree is None and not any(known) else degree


def _common(parts: tuple[Degree, ...]) -> Degree:
    return parts[0] if len(set(parts)) == 1 else None
