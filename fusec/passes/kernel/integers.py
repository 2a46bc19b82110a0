"""Integers: prove in which limits an integer value lies, so that arithmetic that may leave 32 bits is done in 64.

An op means exact integers. A kernel takes what is stored in less than 32 bits as 32 bits, and what is stored in more as
it is; the result of an addition, a subtraction or a product that is not proved to fit 32 bits is made in 64.
"""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

from fusec.ir.expressions import Cast, Choose, Const, Elementwise, MaxOf, NodeId, Scalar
from fusec.ir.flow import Flow, FlowNode, Load
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.types import Computed, DType, Element, Kind

Limits: TypeAlias = tuple[int, int]

_GROWING = ("add", "sub", "mul", "neg", "abs", "bitand", "bitor", "bitxor", "bitnot", "lshift")
"""The operations whose result may lie beyond their operands, and those that must not mix widths: to Triton a literal of
32 digits has no sign."""


def long_values(flow: Flow, graph: Graph) -> frozenset[NodeId]:
    """The nodes of integer arithmetic that 32 bits are not proved to hold."""
    limits: list[Limits] = []
    for node in flow.nodes:
        limits.append(_limits(node, graph, limits))
    return frozenset(n for n, node in enumerate(flow.nodes) if _is_long(node, limits[n], limits))


def _is_long(node: FlowNode, result: Limits, known: list[Limits]) -> bool:
    if node.type.kind is not Kind.INT or not isinstance(node.expr, Elementwise):
        return False
    if node.expr.op == "rshift":  # a number of 32 bits cannot be shifted by more than 31 places
        return not _is_within(known[node.expr.args[1]], (0, 31))
    return node.expr.op in _GROWING and not _is_within(result, _signed(32))


def _limits(node: FlowNode, graph: Graph, known: list[Limits]) -> Limits:
    """The least and the largest number that an integer node may be; those of 64 bits for all that is not known."""
    if node.type.kind is not Kind.INT:
        return _signed(64)
    match node.expr:
        case Const(value):
            return int(value), int(value)
        case Load():
            return _stored(node.type.element)
        case Cast(dtype=dtype) | MaxOf(dtype=dtype):
            return _stored(dtype)
        case Scalar(param):
            scalar = graph.param(param)
            assert isinstance(scalar, ScalarParam)
            return _stored(scalar.dtype)
        case Choose(cases=cases):
            return _either([known[case] for _, case in cases])
        case Elementwise(op, args):
            result = _result(op, [known[arg] for arg in args])
            return result if _is_within(result, _signed(64)) else _signed(64)  # it wraps
        case _:
            return _signed(64)


def _result(op: str, args: list[Limits]) -> Limits:
    match op, args:
        case ("add", [(low, high), (least, most)]):
            return low + least, high + most
        case ("sub", [(low, high), (least, most)]):
            return low - most, high - least
        case ("mul", [a, b]):
            corners = [x * y for x, y in product(a, b)]
            return min(corners), max(corners)
        case ("neg", [(low, high)]):
            return -high, -low
        case ("abs", [(low, high)]):
            return 0, max(-low, high)
        case ("minimum", [(low, high), (least, most)]):
            return min(low, least), min(high, most)
        case ("maximum", [(low, high), (least, most)]):
            return max(low, least), max(high, most)
        case ("where", [_, *values]):
            return _either(values)
        case ("floor" | "ceil" | "round", [a]):
            return a
        case ("sign", [_]):
            return -1, 1
        case ("bitnot", [(low, high)]):
            return -1 - high, -1 - low
        case ("bitand" | "bitor" | "bitxor", [a, b]):
            return _bitwise(op, a, b)
        case ("lshift", [(low, high), (least, most)]) if least >= 0 and most < 64:
            return min(low << least, low << most), max(high << least, high << most)
        case ("rshift", [(low, high), _]):
            return min(low, 0), max(high, 0)
        case ("floordiv", [(low, high), _]):
            return -max(-low, high), max(-low, high)
        case ("mod", [_, (low, high)]):
            return min(low + 1, 0), max(high - 1, 0)
        case _:
            return _signed(64)


def _bitwise(op: str, a: Limits, b: Limits) -> Limits:
    """The numbers of as many digits as the longer operand has; `&` has no more than one that is not negative."""
    sizes = [high for low, high in (a, b) if low >= 0]
    if op == "bitand" and sizes:
        return 0, min(sizes)
    digits = max(end.bit_length() if end >= 0 else (~end).bit_length() for end in (*a, *b))
    return 0 if len(sizes) == 2 else -(2**digits), 2**digits - 1


def _stored(element: Element) -> Limits:
    assert not isinstance(element, Computed)
    return _either([_of(dtype) for dtype in element.options])


def _of(dtype: DType) -> Limits:
    return (0, 2**dtype.bits - 1) if dtype.name == "u8" else _signed(dtype.bits)


def _signed(bits: int) -> Limits:
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _either(limits: list[Limits]) -> Limits:
    return min(low for low, _ in limits), max(high for _, high in limits)


def _is_within(limits: Limits, outer: Limits) -> bool:
    return outer[0] <= limits[0] and limits[1] <= outer[1]
