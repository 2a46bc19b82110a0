"""Factor: the operands of a dot as products, and what can be read off a product before it is written down.

Decides nothing: `deferral.py` does, by what stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fusec.ir.bottom_up import BottomUp
from fusec.ir.builder import GraphBuilder
from fusec.ir.expressions import (
    Cast,
    Dot,
    Elementwise,
    Extent,
    Gather,
    Index,
    Input,
    NodeId,
    Scalar,
)
from fusec.ir.graph import Graph, Node, reachable
from fusec.ir.multiply import is_number_of
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Computed, Kind, Storage, union

Nodes: TypeAlias = GraphBuilder | tuple[Node, ...]

_MOST_FACTORS = 32


@dataclass(frozen=True, slots=True)
class Factor:
    """A value that multiplies, or `divides`."""

    value: NodeId
    divides: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """Factors, one after another, with the sign turned where `negative`."""

    factors: tuple[Factor, ...] = ()
    negative: bool = False

    @property
    def alone(self) -> NodeId | None:
        """The value that the product is, where it is a single one."""
        match self:
            case Product((Factor(value, divides=False),), negative=False):
                return value
            case _:
                return None


def product(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> Product:
    """`value` as a product, taken apart until a factor has none of `axes` or is itself no product of reals.

    A product of very many factors, such as a power written as squares of squares, is a factor itself.
    """

    def needs(number: NodeId) -> tuple[NodeId, ...]:
        node = nodes[number]
        if node.type.kind is not Kind.REAL or not spans(nodes, number, axes):
            return ()
        match node.expr:
            case Elementwise(op, (a, _)) if ELEMENTWISE[op].is_quotient:
                return (a,) if spans(nodes, a, axes) else ()
            case Elementwise(op, args) if ELEMENTWISE[op].is_product:
                return args
            case _:
                return ()

    def rule(number: NodeId) -> Product:
        match nodes[number].expr, [taken(n) for n in needs(number)]:
            case Elementwise(), [left, right]:
                found = Product((*left.factors, *right.factors), left.negative != right.negative)
            case Elementwise(args=(_, b)), [above]:
                found = Product((*above.factors, Factor(b, divides=True)), above.negative)
            case Elementwise(op), [inner]:
                found = Product(inner.factors, inner.negative != ELEMENTWISE[op].turns_sign)
            case _:
                found = Product((Factor(number),))
        return found if len(found.factors) <= _MOST_FACTORS else Product((Factor(number),))

    taken = BottomUp(needs, rule)
    return taken(value)


def spans(nodes: Nodes, value: NodeId, axes: tuple[Axis, ...]) -> bool:
    """Whether a value has one of `axes`."""
    return any(axis in nodes[value].type.axes for axis in axes)


def axes_of(nodes: Nodes, factors: tuple[Factor, ...]) -> tuple[Axis, ...]:
    """The axes of a product."""
    return union(*(nodes[factor.value].type.axes for factor in factors))


def weights_of(graph: Graph) -> frozenset[str]:
    """The tensors known before the call."""
    return frozenset(tensor.name for tensor in graph.tensors if tensor.static)


def follows_from(nodes: Nodes, value: NodeId, weights: frozenset[str]) -> bool:
    """Whether a value follows from `weights` and numbers of the spec alone, and from choices, known at compile time.

    No argument, number or extent of a call is in it.
    """
    for number in reachable(nodes, (value,)):
        match nodes[number].expr:
            case Input(param) | Gather(param) if param not in weights:
                return False
            case Scalar() | Index() | Extent():
                return False
            case _:
                pass
    return True


def reads(nodes: Nodes, value: NodeId, weights: frozenset[str]) -> bool:
    """Whether a value is computed from one of `weights`, among others."""
    exprs = (nodes[number].expr for number in reachable(nodes, (value,)))
    return any(isinstance(expr, Input | Gather) and expr.param in weights for expr in exprs)


def rounded_as(nodes: Nodes, operand: Product, dot: Dot) -> Storage | None:
    """The storage type a dot may round an operand to; None if it may not, or if the operand is a number of it."""
    storage, alone = dot.rounded, operand.alone
    if storage is None or (alone is not None and is_number_of(nodes, alone, storage)):
        return None
    return storage


def stored_as(nodes: Nodes, operand: Product) -> Storage | None:
    """The storage type of an operand that needs no arithmetic; None where it has to be computed."""
    if operand.alone is None:
        return None
    element = nodes[operand.alone].type.element
    return None if isinstance(element, Computed) else element


def in_f64(nodes: Nodes, factors: tuple[Factor, ...]) -> frozenset[Storage]:
    """The storage types below some factors that make their arithmetic f64, always or for some callers."""
    values = [factor.value for factor in factors]
    below = reachable(nodes, values, into=lambda number: not isinstance(nodes[number].expr, Cast))
    elements = (nodes[number].type.element for number in below)
    stored = (element for element in elements if not isinstance(element, Computed))
    return frozenset(each for each in stored if any(dtype.name == "f64" for dtype in each.options))
